from infra.local.pubsub.push import Window


def test_the_window_doubles_with_a_round_of_successes():
    window = Window()
    before = window.size

    for _ in range(before):
        window.succeeded()

    assert window.size == 2 * before


def test_the_window_halves_with_a_failure_and_keeps_its_floor():
    window = Window()
    for _ in range(1000):
        window.succeeded()
    assert window.size == Window.CEILING

    window.failed()
    assert window.size == Window.CEILING // 2
    for _ in range(10):
        window.failed()
    assert window.size == Window.FLOOR

// Azurite for as long as the process that started it lives: its end closes our standard input.
process.stdin.resume().on("end", () => process.exit());
require(process.env.AZURITE_MAIN);

# The topology's routes in the URL map's words. Most specific first, as the local gateway tries them
# (infra/local/gateway/routing.py): compared segment by segment, a literal before `*` before `**`, the
# end of a path before anything that may follow, and some methods before every method.

locals {
  _segments = [for route in var.routes : slice(split("/", route.path), 1, length(split("/", route.path)))]

  # One digit a segment; 0 is the end of a path, so that no order is the beginning of another.
  _order = [
    for index, route in var.routes : format(
      "%s%s%d/%03d",
      join("", [for segment in local._segments[index] : segment == "**" ? "3" : segment == "*" ? "2" : "1"]),
      endswith(route.path, "**") ? "" : "0",
      length(route.methods) == 0 ? 1 : 0,
      index,
    )
  ]
  _ordered = [for order in sort(local._order) : var.routes[tonumber(split("/", order)[1])]]

  # Ways to say a path. `/docs/**` is /docs and all below it; only patterns with a `*` inside need a
  # template, in which `**` stands for any number of segments too.
  _paths = {
    for route in var.routes : route.path => concat(
      [
        for path in [route.path, trimsuffix(route.path, "/**")] : { full = path, prefix = null, template = null }
        if !strcontains(path, "*")
      ],
      [
        for path in [trimsuffix(route.path, "**")] : { full = null, prefix = path, template = null }
        if endswith(route.path, "/**") && !strcontains(path, "*")
      ],
      [
        for path in [route.path, trimsuffix(route.path, "/**")] : { full = null, prefix = null, template = path }
        if strcontains(trimsuffix(route.path, "/**"), "*")
      ],
    )...
  }

  # A browser's preflight and HEAD belong to whoever answers the path.
  rules = [
    for index, route in local._ordered : {
      priority = index + 1
      function = route.function
      matches = [
        for pair in setproduct(
          distinct(local._paths[route.path][0]),
          length(route.methods) == 0 ? [""] : distinct(concat(route.methods, ["HEAD", "OPTIONS"])),
        ) : merge(pair[0], { method = pair[1] })
      ]
    }
  ]

  # What no route names goes to the function of the least specific one, which answers 404.
  default_function = local._ordered[length(local._ordered) - 1].function
}

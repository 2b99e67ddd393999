"""Which files an export has, and the template of each."""

# Where each template goes, with the default prefix.
POLICY = {
    "scpo_config.h.jinja": "include/scpo_config.h",
    "scpo.hpp.jinja": "include/scpo.hpp",
    "scpo_data.c.jinja": "src/scpo_data.c",
    "vectors.h.jinja": "test/vectors.h",
    "vectors.c.jinja": "test/vectors.c",
    "test_scpo.c.jinja": "test/test_scpo.c",
    "Makefile.jinja": "Makefile",
    "CMakeLists.txt.jinja": "CMakeLists.txt",
    "LICENSE.jinja": "LICENSE",
}
# The same of a controller; of the runtime it has the projection only.
CONTROLLER = {
    "controller/scpo.h.jinja": "include/scpo.h",
    "controller/scpo_config.h.jinja": "include/scpo_config.h",
    "controller/scpo_controller.h.jinja": "src/scpo_controller.h",
    "controller/scpo_control.c.jinja": "src/scpo_control.c",
    "controller/scpo_start.c.jinja": "src/scpo_start.c",
    "controller/scpo_data.c.jinja": "src/scpo_data.c",
    "controller/vectors.h.jinja": "test/vectors.h",
    "controller/vectors.c.jinja": "test/vectors.c",
    "controller/test_scpo.c.jinja": "test/test_scpo.c",
    **{f"{name}.jinja": POLICY[f"{name}.jinja"] for name in ("scpo.hpp", "Makefile", "CMakeLists.txt", "LICENSE")},
}
ADAPTING = {
    "scpo_adapt_config.h.jinja": "include/scpo_adapt_config.h",
    "scpo_model.h.jinja": "src/scpo_model.h",
    "scpo_model.c.jinja": "src/scpo_model.c",
}
FIXED = {
    "scpo_fixed_config.h.jinja": "include/scpo_fixed_config.h",
    "scpo_fixed_data.c.jinja": "src/scpo_fixed_data.c",
}
# Files of the runtime that a controller has its own in place of.
OF_POLICIES = ("scpo_control.c", "scpo_policy.h", "scpo_data.h")

// A library that is no module.
extern "C" __attribute__((visibility("default"))) int npumoe_foreign_answer() { return 42; }

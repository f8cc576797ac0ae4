"""An independent judge of .mlpackage folders; see __main__.py for its command line."""

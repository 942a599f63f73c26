"""Rule files become rules: paths go in, a `RuleSet` comes out, with every error and warning at its path:line:column.

loader                   finds the files, and loads those of all languages into one set
yaml_loader, yaml_match  rules in YAML, checked against `schema`; `yaml_*` and `schema_*` help
sequence                 which rules come after which, and set whose bits
yara_loader, yara_scope  rules in YARA, and what their ``meta`` says to this engine
yara_literals            the strings that a YARA rule cannot do without, from its source; `yara_*` help
traffic, variables       ``http any any -> $HOME_NET any``; groups of addresses and ports
blocking                 whom a rule's ``block`` would hit, and whether it ever can
impossible               values that a buffer never has
"""

"""Tools for those who write rules: what the verbs of `ids rules` do.

proving       runs the tests that rules carry; `stimuli` makes their packets, `parties` who talks to whom,
              `companion` reads the tests of rules that cannot carry any, `junit` writes what came of them
explain       why a rule matched or did not; `admission` judges what it asks of flows, `trace` its condition,
              `yara_strings` those of YARA, `words` says it all
profile       what each rule costs
bench         the engine for both: captures go through it, and what the matcher is handed can be watched
coverage      what rules need to be shown, and what hides some of it
lints, fixes  what is odd about rules, and what can be mended; `likeness` says whether two mean the same
importing     Suricata's rules become YAML; `spelling` has a function for each kind of test, `canonical` one form
skeleton      a rule to begin with
"""

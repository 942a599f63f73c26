"""What is worth asking for later, in a database of SQLite beside the engine: alerts, blocks, and who changed what.

The plugin ``store`` writes it, from a thread; commands write a row of their own for what they change by hand. Who asks
(`ids alerts`, `ids why`, the console) reads it with or without a running engine.

    database   the file: its schema, opening it, keeping it within its bounds
    rows       events and changes as rows
    admission  which alerts are taken while there are too many
    writer     the thread that writes, and what it does when the disk refuses
    queries    what is asked of it
    asked      whom a question is about
    kept       what rows keep as JSON, read with care
    imports    which imports brought the claims on an address
    byhand     who changed a list by a command, and how
"""

"""What Node's texts of errors have and a caller in Python has no use for."""

import re

OF_NODE = re.compile(
    r"\boptions\.|\btype (?:number|string|boolean|function|object|undefined)\b|\bundefined\b|&&"
    r"|\binstance of (?:Array|Buffer|Object|Set|Error|\w+Stream)|\bnull\b(?! bytes)"
    r"|\bmsecs\b|\bhostname\b|\bPort\b|\bsetMaxListeners\b|\"\w*[a-z][A-Z]\w*\""
)

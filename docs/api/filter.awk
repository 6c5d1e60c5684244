# Makes Doxygen's comments of plain ones, so that public headers are written for those who read them. A comment on lines of its
# own is about what follows it, one behind code about that code, the first one of a file about the file. Comments inside functions
# (by their indentation) stay as they are.
function indentation(line) {
  match(line, /^ */)
  return RLENGTH
}
# What it stands behind is code, and no text that has // in it.
function behind(line) { return line ~ /[;,{})] +\/\/ / && indentation(line) < 4 }

FILENAME ~ /\.h$/ && /\/\*/ && !/\/\*\*/ {
  if ($0 ~ /^ *\/\*/) {
    sub(/\/\*/, "/**" (begun++ ? "" : " @file\n *"))
  } else {
    sub(/\/\*/, "/**<")
  }
}
FILENAME ~ /\.hpp$/ {
  if ($0 ~ /^ *\/\/( |$)/ && indentation($0) < 4) {
    sub(/\/\//, begun++ ? "///" : "/// @file\n///")
  } else if (behind($0)) {
    sub(/\/\/ /, "///< ")
  }
}
{ print }

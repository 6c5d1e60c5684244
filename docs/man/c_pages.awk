# The manual pages of the C calls, from the comments of zeropool.h: a page for each function, with all of its
# paragraph of declarations.
#
#   awk -v folder=OUT -v version=1.0.0 -f c_pages.awk client/include/zeropool.h
#
# Understands what that header has: a comment before the declarations that it is about, paragraphs set apart by blank
# lines, no function without a prototype. tests/house/man_pages checks that no call was missed.

function roff(text) {
  gsub(/\\/, "\\e", text)
  if (text ~ /^[.']/) text = "\\&" text
  return text
}

function end_paragraph(   i, file, names) {
  names = functions[1]
  for (i = 2; i <= function_count; ++i) names = names ", " functions[i]
  for (i = 1; i <= function_count; ++i) {
    file = folder "/" functions[i] ".3"
    print ".\\\" Made from zeropool.h: change it there." > file
    print ".TH \"" functions[i] "\" \"3\" \"\" \"zeropool " version "\" \"C calls\"" > file
    print ".SH NAME\n" names " \\- " brief(first_comment) > file
    print ".SH SYNOPSIS\n.nf\n.B #include <zeropool.h>\n.B cc ... $(pkg-config --cflags --libs zeropool)\n" > file
    printf "%s", synopsis > file
    print ".fi\n.SH DESCRIPTION" > file
    printf "%s", description > file
    print ".SH RETURN VALUE" > file
    print "Functions that return an\n.I int\nreturn 0 (ZP_OK), or one of the error codes of\n.IR zeropool.h ;" > file
    print "zp_strerror() names it, and zp_last_error() has the sentence: what failed, which limit, what to do." > file
    print ".SH THREAD SAFETY\nAny function may be called from any thread; a zp_buffer belongs to one thread at a time." > file
    print "Not for signal handlers." > file
    print ".SH SEE ALSO\n.BR zeropool (7),\n.BR zeropoold (8)" > file
    close(file)
  }
  function_count = 0
  synopsis = description = first_comment = comment = ""
}

# The first sentence, for apropos.
function brief(text,   at) {
  at = match(text, /[.:;]( |$)/)
  if (at > 0) text = substr(text, 1, at - 1)
  return text == "" ? "of libzeropool" : roff(text)
}

function end_declaration(   name) {
  if (declaration ~ /^typedef|^enum|^struct/) {
    synopsis = synopsis roff(shown) "\n"
    if (comment != "") description = description ".PP\n" roff(comment) "\n"
  } else if (match(declaration, /zp_[a-z0-9_]+\(/)) {
    name = substr(declaration, RSTART, RLENGTH - 1)
    functions[++function_count] = name
    synopsis = synopsis ".BI \"" declaration "\"\n"
    description = description ".TP\n.BR " name " ()\n" \
                  roff(comment != "" ? comment : "See above.") "\n"
    if (first_comment == "") first_comment = comment
  }
  comment = declaration = shown = ""
}

/^#|^extern "C"|^}$/ { next }
depth == 0 && declaration == "" && /^[ \t]*$/ { if (!in_comment) end_paragraph(); next }
in_comment || (declaration == "" && /^[ \t]*\/\*/) {
  line = $0
  if (!in_comment) { comment = ""; in_comment = 1 }
  if (line ~ /\*\//) in_comment = 0
  gsub(/^[ \t]*\/?\*+\/?[ \t]?|[ \t]*\*\/[ \t]*$/, "", line)
  if (line != "") comment = comment (comment == "" ? "" : " ") line
  next
}
{
  line = $0
  shown = shown (shown == "" ? "" : "\n") line
  trailing = ""
  if (match(line, /\/\*.*\*\//)) {
    trailing = substr(line, RSTART + 2, RLENGTH - 4)
    line = substr(line, 1, RSTART - 1)
    gsub(/^ +| +$/, "", trailing)
  }
  opened = gsub(/{/, "{", line)
  closed = gsub(/}/, "}", line)
  depth += opened - closed
  gsub(/^[ \t]+|[ \t]+$/, "", line)
  declaration = declaration (declaration == "" ? "" : " ") line
  if (trailing != "" && depth == 0 && declaration !~ /^typedef|^enum/) comment = trailing
  if (depth == 0 && line ~ /;$/) end_declaration()
}
END { end_paragraph() }

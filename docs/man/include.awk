# Its input, with the file named by the variable `included` in place of the line @DEFAULT_FILE@.
$0 == "@DEFAULT_FILE@" {
  while ((getline line < included) > 0) print line
  next
}
{ print }

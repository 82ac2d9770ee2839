package pack

import "strings"

// Own gives texts a memory of their own, one for all of them: texts of a Reader keep all that was read alive.
func Own(fields ...*string) {
	n := 0
	for _, f := range fields {
		n += len(*f)
	}
	var b strings.Builder
	b.Grow(n)
	for _, f := range fields {
		b.WriteString(*f)
	}
	all := b.String()
	for _, f := range fields {
		n = len(*f)
		*f, all = all[:n], all[n:]
	}
}

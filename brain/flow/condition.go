package flow

import (
	"math/big"
	"regexp"
	"strings"
)

// comparison is one line of a condition.
//
// eq and ne compare the text as it is; contains and starts look for text; matches looks for a regular expression
// (RE2) anywhere in the value unless it is anchored; empty needs no right side. lt, le, gt and ge compare numbers
// when both sides are numbers, text byte by byte when neither is, and are false otherwise, as they are when a side
// is empty.
type comparison struct {
	left, right template
	op          string
	re          *regexp.Regexp
}

var comparisonOps = []string{"eq", "ne", "lt", "le", "gt", "ge", "contains", "starts", "matches", "empty"}

func (c *comparison) holds(value func(string) string) bool {
	left, right := c.left.render(value, nil), c.right.render(value, nil)
	switch c.op {
	case "eq":
		return left == right
	case "ne":
		return left != right
	case "contains":
		return strings.Contains(left, right)
	case "starts":
		return strings.HasPrefix(left, right)
	case "matches":
		return c.re.MatchString(left)
	case "empty":
		return left == ""
	}
	order, ok := compareOrder(left, right)
	switch c.op {
	case "lt":
		return ok && order < 0
	case "le":
		return ok && order <= 0
	case "gt":
		return ok && order > 0
	}
	return ok && order >= 0
}

var decimal = regexp.MustCompile(`^[+-]?[0-9]{1,40}(\.[0-9]{1,20})?$`)

// compareOrder compares exactly: digits of a card or an account number are not rounded.
func compareOrder(a, b string) (order int, ok bool) {
	if a == "" || b == "" {
		return 0, false
	}
	switch numA, numB := decimal.MatchString(a), decimal.MatchString(b); {
	case numA && numB:
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		return x.Cmp(y), true
	case numA || numB:
		return 0, false
	}
	return strings.Compare(a, b), true
}

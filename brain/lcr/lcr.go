// Package lcr finds the way out for a number: the longest prefix that routes or rates have for it, and the order in
// which the trunks of a route are tried (least cost routing, and by priority or weight). It knows no resources: prefixes
// lead to small integers, which are indexes into whatever the caller keeps.
package lcr

import (
	"errors"
	"fmt"
	"math/bits"
)

// Bounds of a table. They are what the packing of a node leaves room for: 200,000 prefixes of 15 digits have at most 3
// million nodes, and a node counts 22 bits.
const (
	MaxPrefixes = 200_000
	MaxDigits   = 15      // of a prefix: E.164
	MaxValue    = 1 << 30 // values are smaller
)

// Entry is one prefix: digits alone, "" for any number.
type Entry struct {
	Prefix string
	Value  uint32
}

// Table maps prefixes to values. It does not change once built, so that any number of calls may read it at once. Make it
// with Build; the zero Table has no prefixes.
type Table struct {
	nodes []node // the first is that of no digits; the children of a node stand together, in the order of their digits
}

// node is a prefix of prefixes. 8 bytes, so that a cache line holds a node and its neighbours.
type node struct {
	kids  uint32 // index of the first child in the upper 22 bits, which digits have one in the lower 10
	value uint32 // 0: no prefix ends here, else its value + 1
}

// ErrOrder is in the error of Build for entries that are not in ascending order, or name a prefix twice.
var ErrOrder = errors.New("prefixes must ascend")

// Build makes a table of entries in ascending order of their prefixes as text: 49, 491, 5. It takes time in proportion
// to their digits and keeps nothing of them.
func Build(entries []Entry) (*Table, error) {
	if err := check(entries); err != nil {
		return nil, err
	}
	t := &Table{nodes: make([]node, 1, 2*len(entries)+1)}
	t.grow(0, entries, 0)
	t.nodes = append(make([]node, 0, len(t.nodes)), t.nodes...)
	return t, nil
}

const (
	digitBits = 10
	nodeBytes = 8
)

// grow makes the node at an index, of a depth, stand for entries, which begin alike: its children first, then what is
// below each of them, so that the end of a number is found in a few neighbouring lines of the cache.
func (t *Table) grow(at int, entries []Entry, depth int) {
	if len(entries) > 0 && len(entries[0].Prefix) == depth {
		t.nodes[at].value = entries[0].Value + 1
		entries = entries[1:]
	}
	if len(entries) == 0 {
		return
	}
	first, kids := len(t.nodes), uint32(0)
	for i := range entries {
		kids |= 1 << (entries[i].Prefix[depth] - '0')
	}
	t.nodes[at].kids = uint32(first)<<digitBits | kids
	for range bits.OnesCount32(kids) {
		t.nodes = append(t.nodes, node{})
	}
	for child := first; len(entries) > 0; child++ {
		n := 1
		for n < len(entries) && entries[n].Prefix[depth] == entries[0].Prefix[depth] {
			n++
		}
		t.grow(child, entries[:n], depth+1)
		entries = entries[n:]
	}
}

func check(entries []Entry) error {
	if len(entries) > MaxPrefixes {
		return fmt.Errorf("%d prefixes, more than %d", len(entries), MaxPrefixes)
	}
	for i, e := range entries {
		switch {
		case len(e.Prefix) > MaxDigits || !digits(e.Prefix):
			return fmt.Errorf("entry %d: %.40q is not a prefix of at most %d digits", i, e.Prefix, MaxDigits)
		case e.Value >= MaxValue:
			return fmt.Errorf("entry %d: value %d is not below %d", i, e.Value, MaxValue)
		case i > 0 && entries[i-1].Prefix >= e.Prefix:
			return fmt.Errorf("entry %d: %q after %q: %w", i, e.Prefix, entries[i-1].Prefix, ErrOrder)
		}
	}
	return nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Lookup returns the value of the longest prefix of a number, and how many digits that has. It is false when no prefix
// fits. What follows a byte that is no digit does not count. It allocates nothing.
func (t *Table) Lookup(number string) (value uint32, length int, ok bool) {
	if len(t.nodes) == 0 {
		return 0, 0, false
	}
	n, best := t.nodes[0], uint32(0)
	for i := 0; ; i++ {
		if n.value != 0 {
			best, length = n.value, i
		}
		if i == len(number) {
			break
		}
		d := number[i] - '0' // wraps for what is below 0
		if d > 9 || n.kids>>d&1 == 0 {
			break
		}
		n = t.nodes[n.kids>>digitBits+uint32(bits.OnesCount32(n.kids&(1<<d-1)))]
	}
	if best == 0 {
		return 0, 0, false
	}
	return best - 1, length, true
}

// Bytes is the memory that the table takes.
func (t *Table) Bytes() int { return cap(t.nodes) * nodeBytes }

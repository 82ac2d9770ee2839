package lcr

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naive is the longest prefix as one would write it without a thought for time.
func naive(entries map[string]uint32, number string) (uint32, int, bool) {
	for n := len(number); n >= 0; n-- {
		if v, ok := entries[number[:n]]; ok {
			return v, n, true
		}
	}
	return 0, 0, false
}

func sorted(entries map[string]uint32) []Entry {
	list := make([]Entry, 0, len(entries))
	for _, p := range slices.Sorted(maps.Keys(entries)) {
		list = append(list, Entry{p, entries[p]})
	}
	return list
}

// agree looks numbers up both ways.
func agree(t *testing.T, table *Table, entries map[string]uint32, numbers ...string) {
	t.Helper()
	for _, number := range numbers {
		v, n, ok := table.Lookup(number)
		if wv, wn, wok := naive(entries, number); v != wv || n != wn || ok != wok {
			t.Fatalf("%q: %d, %d digits, %v; want %d, %d, %v", number, v, n, ok, wv, wn, wok)
		}
	}
}

// digitString draws up to n digits, the low ones more often, so that prefixes meet.
func digitString(r *rand.Rand, n int) string {
	b := make([]byte, r.IntN(n+1))
	for i := range b {
		b[i] = '0' + byte(min(r.IntN(10), r.IntN(10)))
	}
	return string(b)
}

// Proves that every table finds what trying each prefix of a number finds, over tables of 0 to 2,000 random prefixes
// and one of 200,000, for random numbers, the prefixes themselves and what lies beside them.
func TestTable_AgreesWithTryingEveryPrefix(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{MaxPrefixes}
	for range 200 {
		sizes = append(sizes, r.IntN(2000))
	}
	for _, size := range sizes {
		entries, digits := map[string]uint32{}, 1+r.IntN(MaxDigits)
		if size == MaxPrefixes {
			digits = 12
		}
		for tries := 0; len(entries) < size && tries < 20*size; tries++ { // short prefixes run out
			entries[digitString(r, digits)] = uint32(r.IntN(MaxValue))
		}
		table, err := Build(sorted(entries))
		if err != nil {
			t.Fatal(err)
		}
		for p := range entries {
			if r.IntN(1+len(entries)/1000) == 0 {
				agree(t, table, entries, p, p+"1", p[:len(p)/2])
			}
		}
		for range 1000 {
			agree(t, table, entries, digitString(r, 18))
		}
	}
}

// Proves the corners: an empty table, an entry for any number, prefixes of one digit and of fifteen, the greatest value,
// and numbers that are none.
func TestTable_Corners(t *testing.T) {
	for _, table := range []*Table{{}, build(t)} {
		if _, _, ok := table.Lookup("49"); ok {
			t.Error("an empty table finds something")
		}
	}
	entries := map[string]uint32{"": MaxValue - 1, "4": 0, "49": 1, "491": 2, "123456789012345": 3, "0": 4, "9": 5}
	table := build(t, sorted(entries)...)
	for number, want := range map[string]string{"": "1073741823 0", "5": "1073741823 0", "4": "0 1", "48": "0 1", "490": "1 2", "49123": "2 3", "123456789012344": "1073741823 0",
		"123456789012345": "3 15", "1234567890123456": "3 15", "+49": "1073741823 0", "49+1": "1 2", "4９1": "0 1", "9:": "5 1", "0/": "4 1", "49\xff": "1 2"} {
		v, n, ok := table.Lookup(number)
		if got := fmt.Sprint(v, n); got != want || !ok {
			t.Errorf("%q: %s %v, want %s", number, got, ok, want)
		}
	}
}

func build(t *testing.T, entries ...Entry) *Table {
	t.Helper()
	table, err := Build(entries)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Proves that the worst table that is allowed, 200,000 prefixes of 15 digits that share as little as they can, fits into
// the packing of a node.
func TestTable_TheWorstThatIsAllowed(t *testing.T) {
	entries := make([]Entry, MaxPrefixes)
	for i := range entries {
		head := fmt.Sprintf("%06d", i*5) // spread over the first digits
		entries[i] = Entry{head + strings.Repeat(fmt.Sprint(i%10), MaxDigits-len(head)), uint32(i)}
	}
	table := build(t, entries...)
	for i, e := range entries {
		if v, n, ok := table.Lookup(e.Prefix + "3"); !ok || v != uint32(i) || n != MaxDigits {
			t.Fatalf("%s: %d, %d, %v", e.Prefix, v, n, ok)
		}
	}
	if nodes := table.Bytes() / nodeBytes; nodes > 1<<22 {
		t.Errorf("%d nodes", nodes)
	}
}

// Proves what is refused, and that the error names the entry.
func TestBuild_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		entries []Entry
		want    string
		order   bool
	}{
		"not ascending": {[]Entry{{"49", 1}, {"48", 1}}, `entry 1: "48" after "49"`, true},
		"twice":         {[]Entry{{"4", 1}, {"49", 1}, {"49", 2}}, `entry 2: "49" after "49"`, true},
		"by length":     {[]Entry{{"5", 1}, {"49", 1}}, `entry 1`, true},
		"a plus":        {[]Entry{{"+49", 1}}, `entry 0: "+49" is not a prefix`, false},
		"too long":      {[]Entry{{"1234567890123456", 1}}, `entry 0: "1234567890123456"`, false},
		"a value":       {[]Entry{{"1", 1}, {"2", MaxValue}}, `entry 1: value 1073741824`, false},
		"too many":      {make([]Entry, MaxPrefixes+1), `200001 prefixes`, false},
	} {
		_, err := Build(c.entries)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrOrder) != c.order {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Proves that a look-up allocates nothing.
func TestTable_LookupAllocatesNothing(t *testing.T) {
	table := build(t, Entry{"49", 1}, Entry{"4930", 2})
	if n := testing.AllocsPerRun(100, func() { table.Lookup("49301234567") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Builds tables from any text, one prefix a line. Proves that Build refuses or the table agrees with trying every
// prefix, whatever is looked up.
func FuzzTable(f *testing.F) {
	f.Add("4\n49\n4930\n5", "49301")
	f.Add("\n0\n00\n000000000000000", "0000000000000000")
	f.Add("b\na", "\xff")
	f.Add("12\n1", "")
	f.Fuzz(func(t *testing.T, text, number string) {
		var list []Entry
		entries := map[string]uint32{}
		for i, p := range strings.Split(text, "\n") {
			list = append(list, Entry{p, uint32(i)})
			entries[p] = uint32(i)
		}
		table, err := Build(list)
		if err != nil {
			return
		}
		if len(entries) != len(list) {
			t.Fatal("a prefix stands there twice")
		}
		for p := range entries {
			agree(t, table, entries, p, p+number)
		}
		agree(t, table, entries, number)
	})
}

package balance

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// Bounds of a plan.
const (
	MaxRates     = 1_000_000
	MaxPerPrefix = 100 // rates of one prefix, by time
)

const maxFrom = math.MaxUint32 // epoch seconds

// Errors of NewPlan.
var (
	ErrTooMany = errors.New("more than 1000000 rates")
	ErrTwice   = errors.New("is there twice with the same effective_from")
	ErrMany    = errors.New("has more than 100 rates")
)

// Plan is a price list that does not change; any number may read it. It is a trie over digits, laid out level after level:
// the children of a node stand side by side, and so do the rates of a prefix, by time. Equal terms are kept once.
type Plan struct {
	Currency string

	nodes []node // the last one only ends the rates of the one before
	rates []rated
	terms []Terms
}

// node is a prefix, or the way to one: 12 bytes.
type node struct {
	child  uint32 // its first child
	rate   uint32 // its first rate; they end where those of the next node begin
	digits uint16 // bit d: it has a child for digit d
}

// rated is one rate of a prefix: 8 bytes.
type rated struct{ from, terms uint32 }

// NewPlan makes a plan of rates in any order. An error names the first rate that is wrong.
func NewPlan(currency string, rates []Rate) (*Plan, error) {
	sorted := slices.Clone(rates)
	slices.SortFunc(sorted, Rate.compare)
	if err := checkRates(sorted); err != nil {
		return nil, err
	}
	p := &Plan{Currency: currency}
	p.lay(sorted)
	return p, nil
}

// checkRates tells what is wrong with sorted rates.
func checkRates(sorted []Rate) error {
	if len(sorted) > MaxRates {
		return ErrTooMany
	}
	for i, r := range sorted {
		if err := r.Check(); err != nil {
			return fmt.Errorf("rate of %q: %w", r.Prefix, err)
		}
		if i > 0 && r.compare(sorted[i-1]) == 0 {
			return fmt.Errorf("prefix %q %w", r.Prefix, ErrTwice)
		}
		if i >= MaxPerPrefix && sorted[i-MaxPerPrefix].Prefix == r.Prefix {
			return fmt.Errorf("prefix %q %w", r.Prefix, ErrMany)
		}
	}
	return nil
}

// compare orders rates by prefix, a shorter one before those that it begins, then by time.
func (r Rate) compare(o Rate) int {
	return cmp.Or(strings.Compare(r.Prefix, o.Prefix), cmp.Compare(r.EffectiveFrom, o.EffectiveFrom))
}

// lay lays out sorted rates.
func (p *Plan) lay(sorted []Rate) {
	type part struct { // the rates below a node
		from, to uint32
		depth    int
	}
	known := map[Terms]uint32{}
	p.rates = make([]rated, 0, len(sorted))
	todo := []part{{0, uint32(len(sorted)), 0}}
	for at := 0; at < len(todo); at++ {
		t := todo[at]
		n := node{child: uint32(len(todo)), rate: uint32(len(p.rates))}
		for ; t.from < t.to && len(sorted[t.from].Prefix) == t.depth; t.from++ {
			r := &sorted[t.from]
			index, ok := known[r.Terms]
			if !ok {
				index = uint32(len(p.terms))
				known[r.Terms] = index
				p.terms = append(p.terms, r.Terms)
			}
			p.rates = append(p.rates, rated{uint32(r.EffectiveFrom), index})
		}
		for t.from < t.to {
			digit, end := sorted[t.from].Prefix[t.depth], t.from+1
			for end < t.to && sorted[end].Prefix[t.depth] == digit {
				end++
			}
			n.digits |= 1 << (digit - '0')
			todo = append(todo, part{t.from, end, t.depth + 1})
			t.from = end
		}
		p.nodes = append(p.nodes, n)
	}
	p.nodes = append(slices.Clip(p.nodes), node{rate: uint32(len(p.rates))})
	p.nodes, p.terms = slices.Clip(p.nodes), slices.Clip(p.terms)
}

// Lookup finds the rate of a number, E.164 without +, that is in force at a time, epoch seconds. False when there is none.
func (p *Plan) Lookup(number string, at int64) (Rate, bool) {
	var path [maxPrefix + 1]uint32
	i, depth := uint32(0), 0
	for depth < maxPrefix && depth < len(number) && len(p.nodes) > 0 {
		digit := number[depth] - '0'
		n := p.nodes[i]
		if digit > 9 || n.digits>>digit&1 == 0 {
			break
		}
		i = n.child + uint32(bits.OnesCount16(n.digits&(1<<digit-1)))
		depth++
		path[depth] = i
	}
	for ; depth > 0; depth-- {
		i := path[depth]
		for k := p.nodes[i+1].rate; k > p.nodes[i].rate; k-- {
			if r := p.rates[k-1]; int64(r.from) <= at {
				return Rate{number[:depth], p.terms[r.terms], int64(r.from)}, true
			}
		}
	}
	return Rate{}, false
}

// Len is how many rates there are.
func (p *Plan) Len() int { return len(p.rates) }

// Bytes is how much memory the plan takes.
func (p *Plan) Bytes() int { return 12*cap(p.nodes) + 8*cap(p.rates) + 24*cap(p.terms) }

// All gives every rate, by prefix, then by time.
func (p *Plan) All() iter.Seq[Rate] {
	return func(yield func(Rate) bool) { p.walk(0, make([]byte, 0, maxPrefix), yield) }
}

func (p *Plan) walk(i uint32, prefix []byte, yield func(Rate) bool) bool {
	if len(p.nodes) == 0 {
		return true
	}
	n := p.nodes[i]
	for _, r := range p.rates[n.rate:p.nodes[i+1].rate] {
		if !yield(Rate{string(prefix), p.terms[r.terms], int64(r.from)}) {
			return false
		}
	}
	child := n.child
	for digit := range byte(10) {
		if n.digits>>digit&1 == 0 {
			continue
		}
		if !p.walk(child, append(prefix, '0'+digit), yield) {
			return false
		}
		child++
	}
	return true
}

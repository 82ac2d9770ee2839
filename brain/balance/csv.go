package balance

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
)

const (
	// MaxCSV is how many bytes a file of rates may have.
	MaxCSV = 64 << 20
	// MaxCSVErrors is how many mistakes of a file are told one by one.
	MaxCSVErrors = 100
)

// columns of a file of rates. A price stands either as micro-units or as a decimal amount, under the name without _micros.
var columns = []string{"prefix", "connect_micros", "per_minute_micros", "interval_first_sec", "interval_next_sec", "effective_from", "connect", "per_minute"}

const needed = 6 // of columns

// reading is a file of rates on its way to rates.
type reading struct {
	at     []int // where a column stands; -1 when it does not
	line   int
	rates  []Rate
	lines  []int // of rates
	wrong  []brain.FieldError
	faults int
}

// ReadCSV reads a file of rates. Its first line names the columns, in any order: prefix, connect (decimal) or connect_micros,
// per_minute or per_minute_micros, interval_first_sec, interval_next_sec, and effective_from: epoch seconds, a date (its
// beginning in UTC) or a time of RFC 3339. The separator is a comma, or a semicolon when the first line has one. An error has the
// code brain.EInvalid and names every line and field, up to MaxCSVErrors; then there are no rates.
func ReadCSV(text []byte) ([]Rate, error) {
	if len(text) > MaxCSV {
		return nil, brain.Errorf(brain.EInvalid, "the file has %d bytes, more than %d", len(text), MaxCSV)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(text))
	r.ReuseRecord, r.FieldsPerRecord = true, -1
	if first, _, _ := bytes.Cut(text, []byte("\n")); bytes.ContainsRune(first, ';') {
		r.Comma = ';'
	}
	f := &reading{line: 1}
	f.header(r)
	for f.at != nil && f.next(r) {
	}
	f.twice()
	if f.faults > 0 {
		plural := "s"
		if f.faults == 1 {
			plural = ""
		}
		err := brain.Errorf(brain.EInvalid, "%d mistake%s, nothing was changed", f.faults, plural)
		err.Fields = f.wrong
		return nil, err
	}
	return f.rates, nil
}

func (f *reading) fail(path, format string, args ...any) {
	if f.faults++; len(f.wrong) < MaxCSVErrors {
		f.wrong = append(f.wrong, brain.FieldError{Path: path, Line: f.line, Text: fmt.Sprintf(format, args...)})
	}
}

// header reads the names of the columns; at stays nil when they are wrong.
func (f *reading) header(r *csv.Reader) {
	names, err := r.Read()
	if err != nil {
		f.fail("header", "there is no line that names the columns")
		return
	}
	at := slices.Repeat([]int{-1}, len(columns))
	for i, name := range names {
		name = strings.TrimSpace(name)
		k := slices.Index(columns, name)
		switch {
		case k < 0:
			f.fail("header", "%.40q is no column; there are %s", name, strings.Join(columns, ", "))
		case at[k] >= 0:
			f.fail("header", "%s is there twice", name)
		default:
			at[k] = i
		}
	}
	for k, name := range columns[:needed] {
		decimal := k == 1 || k == 2
		switch {
		case decimal && at[k] >= 0 && at[needed+k-1] >= 0:
			f.fail("header", "%s and %s say the same", name, columns[needed+k-1])
		case decimal && at[needed+k-1] >= 0:
		case at[k] < 0:
			f.fail("header", "%s is missing", name)
		}
	}
	if f.faults == 0 {
		f.at = at
	}
}

// next reads one line; false at the end.
func (f *reading) next(r *csv.Reader) bool {
	record, err := r.Read()
	if broken, ok := errors.AsType[*csv.ParseError](err); ok {
		f.line = broken.StartLine
		f.fail("line", "%v", broken.Err)
		return true
	}
	if err != nil {
		return false // io.EOF: it reads from memory
	}
	if f.line, _ = r.FieldPos(0); len(f.rates) >= MaxRates {
		f.fail("line", "more than %d rates", MaxRates)
		return false
	}
	if most := slices.Max(f.at) + 1; len(record) < most {
		f.fail("line", "%d fields of %d", len(record), most)
		return true
	}
	before := f.faults
	rate := f.rate(record)
	if err := rate.Check(); err != nil && f.faults == before {
		path, text, _ := strings.Cut(err.Error(), ": ")
		f.fail(path, "%s", text)
	}
	if f.faults == before {
		f.rates, f.lines = append(f.rates, rate), append(f.lines, f.line)
	}
	return true
}

func (f *reading) rate(record []string) Rate {
	field := func(k int) string {
		if f.at[k] < 0 {
			return ""
		}
		return strings.TrimSpace(record[f.at[k]])
	}
	return Rate{strings.Clone(field(0)), Terms{
		ConnectMicros: f.price(1, field), PerMinuteMicros: f.price(2, field),
		FirstSec: int32(min(f.number(3, field(3)), math.MaxInt32)), NextSec: int32(min(f.number(4, field(4)), math.MaxInt32)),
	}, f.time(field(5))}
}

// price reads a price from its column of micro-units or its decimal one.
func (f *reading) price(k int, field func(int) string) int64 {
	if f.at[k] >= 0 {
		return f.number(k, field(k))
	}
	k += needed - 1
	v, err := ParseMicros(field(k))
	if err == nil && (v < 0 || v > MaxPriceMicros) {
		err = errors.New("is not 0 to 1000000")
	}
	if err != nil {
		f.fail(columns[k], "%.40q %v", field(k), err)
	}
	return v
}

// number reads digits; what is too large for any column stays too large.
func (f *reading) number(k int, text string) int64 {
	v, err := strconv.ParseInt(text, 10, 64)
	if !isDigits(text) || err != nil {
		f.fail(columns[k], "%.40q is not a whole number of 0 or more", text)
	}
	return v
}

func (f *reading) time(text string) int64 {
	if isDigits(text) {
		return f.number(5, text)
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.Unix()
		}
	}
	f.fail(columns[5], "%.40q is neither epoch seconds nor a date nor a time of RFC 3339", text)
	return 0
}

// twice finds rates of the same prefix and time.
func (f *reading) twice() {
	type key struct {
		prefix string
		from   int64
	}
	seen := make(map[key]int, len(f.rates))
	for i, r := range f.rates {
		k := key{r.Prefix, r.EffectiveFrom}
		if first, ok := seen[k]; ok {
			f.line = f.lines[i]
			f.fail("prefix", "%s from this time stands in line %d already", r.Prefix, first)
			continue
		}
		seen[k] = f.lines[i]
	}
}

// AppendCSV writes the rates of a plan as a file that ReadCSV reads back. Equal plans write the same bytes.
func AppendCSV(b []byte, p *Plan) []byte {
	b = append(b, strings.Join(columns[:needed], ",")+"\n"...)
	for r := range p.All() {
		b = fmt.Appendf(b, "%s,%d,%d,%d,%d,%d\n", r.Prefix, r.ConnectMicros, r.PerMinuteMicros, r.FirstSec, r.NextSec, r.EffectiveFrom)
	}
	return b
}

package pack

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// Proves that every kind of value comes back as it was written, at the ends of its range too, and that
// nothing is left over.
func TestReader_ReadsWhatWasWritten(t *testing.T) {
	var b []byte
	for _, v := range []uint64{0, 127, 128, math.MaxUint64} {
		b = AppendUint(b, v)
	}
	for _, v := range []int64{0, -1, math.MinInt64, math.MaxInt64} {
		b = AppendInt(b, v)
	}
	b = AppendBool(AppendBool(b, true), false)
	b = AppendBytes(AppendText(AppendText(b, "é"), ""), []byte{0, 255})
	b = AppendUint(b, 2)
	b = append(b, 7, 8)
	r := NewReader(b)
	for _, want := range []uint64{0, 127, 128, math.MaxUint64} {
		if got := r.Uint(); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	for _, want := range []int64{0, -1, math.MinInt64, math.MaxInt64} {
		if got := r.Int(); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	if !r.Bool() || r.Bool() || r.Text() != "é" || r.Text() != "" || !bytes.Equal(r.Bytes(), []byte{0, 255}) {
		t.Error("a bool, text or bytes came back otherwise")
	}
	if r.Count(2) != 2 || r.Rest() != 2 || r.Uint() != 7 || r.Uint() != 8 || r.End() != nil {
		t.Errorf("end: %v", r.Err())
	}
}

// What is nested is written as its bytes would be, whatever the size of its length, behind what was there already.
func TestAppendNested_WritesWhatAppendBytesWrites(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 20_000} {
		v := bytes.Repeat([]byte{7}, n)
		got := AppendNested([]byte("before"), func(b []byte) []byte { return append(b, v...) })
		if !bytes.Equal(got, AppendBytes([]byte("before"), v)) {
			t.Errorf("%d bytes: %d in all", n, len(got))
		}
	}
}

// Proves that damage is an error that names itself and stays, and that no value is made up after it.
func TestReader_RefusesDamage(t *testing.T) {
	rows := []struct {
		name string
		in   []byte
		read func(*Reader)
		want error
	}{
		{"nothing", nil, func(r *Reader) { r.Uint() }, ErrCut},
		{"cut varint", []byte{0x80}, func(r *Reader) { r.Int() }, ErrCut},
		{"varint too long", bytes.Repeat([]byte{0xff}, 11), func(r *Reader) { r.Uint() }, ErrRange},
		{"cut text", []byte{5, 'a'}, func(r *Reader) { r.Text() }, ErrCut},
		{"text longer than memory", AppendUint(nil, math.MaxUint64), func(r *Reader) { r.Text() }, ErrCut},
		{"no bool", []byte{2}, func(r *Reader) { r.Bool() }, ErrRange},
		{"bool cut off", nil, func(r *Reader) { r.Bool() }, ErrCut},
		{"too many entries", []byte{3, 0, 0, 0}, func(r *Reader) { r.Count(2) }, ErrRange},
		{"more entries than bytes", []byte{3, 0, 0}, func(r *Reader) { r.Count(9) }, ErrCut},
		{"left over", []byte{1, 1}, func(r *Reader) { r.Uint() }, ErrRest},
	}
	for _, row := range rows {
		r := NewReader(row.in)
		row.read(r)
		if err := r.End(); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
		if r.Uint() != 0 || r.Int() != 0 || r.Text() != "" || r.Bool() || len(r.Bytes()) != 0 || r.Count(9) != 0 || !errors.Is(r.Err(), row.want) {
			t.Errorf("%s: reads on after the error", row.name)
		}
	}
}

// Reads any bytes in any order of kinds. Proves that no input makes a reader panic or read past its end,
// and that what it read, written again, is read the same.
func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 2, 3, 'a', 'b', 'c', 1}, []byte{0, 2, 4})
	f.Add(bytes.Repeat([]byte{0xff}, 20), []byte{0, 1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, in, kinds []byte) {
		r := NewReader(in)
		var out []byte
		for _, k := range kinds {
			out = again(out, r, k)
		}
		if r.Rest() < 0 || r.Rest() > len(in) {
			t.Fatalf("%d of %d bytes left", r.Rest(), len(in))
		}
		if r.Err() != nil {
			return
		}
		second := NewReader(out)
		var twice []byte
		for _, k := range kinds {
			twice = again(twice, second, k)
		}
		if err := second.End(); err != nil || !bytes.Equal(twice, out) {
			t.Fatalf("%v: % x then % x", err, out, twice)
		}
	})
}

// again reads a value of a kind and appends it to out.
func again(out []byte, r *Reader, kind byte) []byte {
	switch kind % 5 {
	case 0:
		return AppendUint(out, r.Uint())
	case 1:
		return AppendInt(out, r.Int())
	case 2:
		return AppendText(out, r.Text())
	case 3:
		return AppendBytes(out, r.Bytes())
	}
	return AppendBool(out, r.Bool())
}

// Package pack is the binary form of what a live object writes down: ops, replies and snapshots. Values
// stand one after the other without names: who reads must ask in the order in which it was written.
package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// AppendUint appends v as a varint of 1 to 10 bytes.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendInt appends v as a zigzag varint, short for small numbers of either sign.
func AppendInt(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendText appends s with its length before it.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendBytes appends v with its length before it.
func AppendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// AppendNested appends what add appends, with its length before it: AppendBytes without a copy made first.
func AppendNested(b []byte, add func([]byte) []byte) []byte {
	at := len(b)
	from := at + binary.MaxVarintLen64 // what is added leaves room for its length, then moves up to it
	b = add(append(b, make([]byte, binary.MaxVarintLen64)...))
	to := len(binary.AppendUvarint(b[:at], uint64(len(b)-from)))
	return b[:to+copy(b[to:], b[from:])]
}

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// Errors of a Reader, wrapped with the place.
var (
	ErrCut   = errors.New("cut off")
	ErrRange = errors.New("out of range")
	ErrRest  = errors.New("bytes left over")
)

// Reader reads what the Append functions wrote. The first error stays: every later read gives zero
// values, so one look at Err or End after the last read is enough. It never reads past its input.
type Reader struct {
	b    []byte
	at   int
	text string // copy of b, made for the first text
	err  error
}

// NewReader reads b, which must not change as long as the reader or what Bytes gave is used.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Reset makes r read b from its beginning, as a new Reader does.
func (r *Reader) Reset(b []byte) { *r = Reader{b: b} }

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d of %d: %w", r.at, len(r.b), err)
	}
}

// Uint reads what AppendUint wrote.
func (r *Reader) Uint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	return taken(r, v, n)
}

// Int reads what AppendInt wrote.
func (r *Reader) Int() int64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Varint(r.b[r.at:])
	return taken(r, v, n)
}

// taken moves on behind a varint of n bytes; n <= 0 is encoding/binary's word for none.
func taken[N int64 | uint64](r *Reader, v N, n int) N {
	switch {
	case n > 0:
		r.at += n
		return v
	case n == 0:
		r.fail(ErrCut)
	default:
		r.fail(ErrRange)
	}
	return 0
}

// Bool reads what AppendBool wrote; any byte but 0 and 1 is an error.
func (r *Reader) Bool() bool {
	if r.err != nil {
		return false
	}
	if r.at >= len(r.b) {
		r.fail(ErrCut)
		return false
	}
	v := r.b[r.at]
	if v > 1 {
		r.fail(ErrRange)
		return false
	}
	r.at++
	return v == 1
}

// Bytes reads what AppendBytes wrote. It is a part of the input, not a copy.
func (r *Reader) Bytes() []byte {
	from, to := r.span()
	return r.b[from:to:to]
}

// Text reads what AppendText wrote. All texts of a reader share one copy of its whole input: what lives
// long must be packed by itself (AppendBytes) and read by a reader of its own.
func (r *Reader) Text() string {
	from, to := r.span()
	if from == to {
		return ""
	}
	if r.text == "" {
		r.text = string(r.b)
	}
	return r.text[from:to]
}

// span reads a length and tells where that many bytes stand; an empty one after an error.
func (r *Reader) span() (from, to int) {
	n := r.Uint()
	if r.err != nil {
		return r.at, r.at
	}
	if n > uint64(len(r.b)-r.at) {
		r.fail(ErrCut)
		return r.at, r.at
	}
	from = r.at
	r.at += int(n)
	return from, r.at
}

// Count reads how many entries follow. More than most, or more than there are bytes left, is an error,
// so it may be used to make room.
func (r *Reader) Count(most int) int {
	n := r.Uint()
	switch {
	case r.err != nil:
		return 0
	case most < 0 || n > uint64(most):
		r.fail(ErrRange)
		return 0
	case n > uint64(len(r.b)-r.at):
		r.fail(ErrCut)
		return 0
	}
	return int(n)
}

// Rest is how many bytes were not read yet.
func (r *Reader) Rest() int { return len(r.b) - r.at }

// Err is the first error, nil while there was none.
func (r *Reader) Err() error { return r.err }

// End is Err, or an error when bytes are left over.
func (r *Reader) End() error {
	if r.err == nil && r.at < len(r.b) {
		r.fail(ErrRest)
	}
	return r.err
}

package ng

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Bounds of a bencoded message. rtpengine nests a query's answer eight deep.
const (
	maxDepth    = 16
	maxElements = 1 << 16
)

// errBencode is anything that is not one strict bencoded value.
var errBencode = errors.New("malformed bencode")

// Values are string, int64, []any and map[string]any, as in the bencode specification (BEP 3).
// rtpengine does not sort its keys, so any order is read; keys are written sorted.

// encode appends the bencoding of v to dst.
func encode(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		dst = strconv.AppendInt(dst, int64(len(v)), 10)
		return append(append(dst, ':'), v...), nil
	case int:
		return encode(dst, int64(v))
	case int64:
		dst = strconv.AppendInt(append(dst, 'i'), v, 10)
		return append(dst, 'e'), nil
	case []any:
		return encodeList(dst, v)
	case map[string]any:
		return encodeDict(dst, v)
	}
	return nil, fmt.Errorf("bencode: cannot write a %T", v)
}

func encodeList(dst []byte, list []any) (_ []byte, err error) {
	dst = append(dst, 'l')
	for _, v := range list {
		if dst, err = encode(dst, v); err != nil {
			return nil, err
		}
	}
	return append(dst, 'e'), nil
}

func encodeDict(dst []byte, dict map[string]any) (_ []byte, err error) {
	keys := make([]string, 0, len(dict))
	for k := range dict {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, 'd')
	for _, k := range keys {
		if dst, err = encode(dst, k); err != nil {
			return nil, err
		}
		if dst, err = encode(dst, dict[k]); err != nil {
			return nil, err
		}
	}
	return append(dst, 'e'), nil
}

// decode reads exactly one value; bytes behind it are an error.
func decode(b []byte) (any, error) {
	d := decoder{rest: b}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if len(d.rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the value", errBencode, len(d.rest))
	}
	return v, nil
}

type decoder struct {
	rest     []byte
	elements int
}

func (d *decoder) value(depth int) (any, error) {
	if d.elements++; depth > maxDepth || d.elements > maxElements {
		return nil, fmt.Errorf("%w: deeper than %d or more than %d values", errBencode, maxDepth, maxElements)
	}
	if len(d.rest) == 0 {
		return nil, fmt.Errorf("%w: ends early", errBencode)
	}
	switch c := d.rest[0]; {
	case c == 'i':
		d.rest = d.rest[1:]
		return d.number('e', true)
	case c == 'l':
		d.rest = d.rest[1:]
		return d.list(depth)
	case c == 'd':
		d.rest = d.rest[1:]
		return d.dict(depth)
	case c >= '0' && c <= '9':
		return d.text()
	}
	return nil, fmt.Errorf("%w: no value begins with %q", errBencode, d.rest[0])
}

// number reads decimal digits up to end. Leading zeros and a negative zero are refused.
func (d *decoder) number(end byte, signed bool) (int64, error) {
	i := slices.Index(d.rest[:min(len(d.rest), 21)], end)
	if i < 1 {
		return 0, fmt.Errorf("%w: number without end", errBencode)
	}
	digits := string(d.rest[:i])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != digits || (!signed && n < 0) {
		return 0, fmt.Errorf("%w: number %q", errBencode, digits)
	}
	d.rest = d.rest[i+1:]
	return n, nil
}

func (d *decoder) text() (string, error) {
	n, err := d.number(':', false)
	if err != nil {
		return "", err
	}
	if n > math.MaxInt32 || int(n) > len(d.rest) {
		return "", fmt.Errorf("%w: string of %d bytes, %d left", errBencode, n, len(d.rest))
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s, nil
}

// ended takes the closing e when it is next.
func (d *decoder) ended() bool {
	if len(d.rest) > 0 && d.rest[0] == 'e' {
		d.rest = d.rest[1:]
		return true
	}
	return false
}

func (d *decoder) list(depth int) ([]any, error) {
	list := []any{}
	for !d.ended() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (d *decoder) dict(depth int) (map[string]any, error) {
	dict := map[string]any{}
	for !d.ended() {
		if len(d.rest) == 0 || d.rest[0] < '0' || d.rest[0] > '9' {
			return nil, fmt.Errorf("%w: dictionary key is no string", errBencode)
		}
		k, err := d.text()
		if err != nil {
			return nil, err
		}
		if _, twice := dict[k]; twice {
			return nil, fmt.Errorf("%w: key %.40q twice", errBencode, k)
		}
		if dict[k], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return dict, nil
}

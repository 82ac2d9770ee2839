package flow

import (
	"strings"
	"time"
)

// maxKeys bounds the digits typed ahead.
const maxKeys = 32

// keypad holds the digits that a caller pressed and no command has used. Digits typed ahead are kept from one
// play or gather to the next, whether files could be interrupted or not, so that callers who know a menu need not
// wait; dial, record and conference begin with none, and digits pressed during them are theirs. When it is full,
// further digits are dropped.
type keypad struct{ pressed []press }

type press struct {
	digit byte
	at    time.Time
}

// press takes a digit as FreeSWITCH names it: one of 0 to 9, *, #, A to D.
func (p *keypad) press(digit string, at time.Time) {
	if len(digit) == 1 && strings.Contains("0123456789*#ABCD", digit) && len(p.pressed) < maxKeys {
		p.pressed = append(p.pressed, press{digit[0], at})
	}
}

// first returns the oldest digit and leaves it there.
func (p *keypad) first() (press, bool) {
	if len(p.pressed) == 0 {
		return press{}, false
	}
	return p.pressed[0], true
}

// pop takes the oldest digit out.
func (p *keypad) pop() (press, bool) {
	d, ok := p.first()
	if ok {
		p.pressed = p.pressed[1:]
	}
	return d, ok
}

// popAny takes the oldest digit out that is one of digits.
func (p *keypad) popAny(digits string) (press, bool) {
	for i, d := range p.pressed {
		if strings.IndexByte(digits, d.digit) >= 0 {
			p.pressed = append(p.pressed[:i:i], p.pressed[i+1:]...)
			return d, true
		}
	}
	return press{}, false
}

func (p *keypad) clear() { p.pressed = nil }

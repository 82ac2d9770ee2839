package flow

import (
	"context"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Defaults of a gather that names no times, and the most digits it takes.
const (
	firstDigitMS = 5000
	interDigitMS = 3000
	maxDigits    = 64
)

// collector judges the digits of one gather.
type collector struct {
	min, max    int
	terminators string

	digits     []byte
	terminator byte
	done       bool
}

func newCollector(p api.CommandParams) *collector {
	c := &collector{min: max(p.MinDigits, 1), max: p.MaxDigits, terminators: p.Terminators}
	if c.max <= 0 || c.max > maxDigits {
		c.max = maxDigits
	}
	return c
}

// put takes a digit: a terminator ends the input and is no part of it, and so does the last digit it may have.
func (c *collector) put(digit byte) {
	if strings.IndexByte(c.terminators, digit) >= 0 {
		c.terminator, c.done = digit, true
		return
	}
	c.digits = append(c.digits, digit)
	c.done = len(c.digits) >= c.max
}

// result is digits when there are enough, else timeout, also when a terminator came too early.
func (c *collector) result() result {
	r := result{api.OutcomeTimeout, map[string]string{"digits": string(c.digits)}}
	if len(c.digits) >= c.min {
		r.outcome = api.OutcomeDigits
	}
	if c.terminator != 0 {
		r.data["terminator"] = string(c.terminator)
	}
	return r
}

// gather plays the files and collects digits. Digits typed before it and during the files count, also where they do
// not stop the files. Digits are never logged.
func (k *call) gather(ctx context.Context, p api.CommandParams) (result, error) {
	if err := k.pickUp(ctx, p.NoAnswer); err != nil {
		return result{}, err
	}
	paths, missing := k.fetch(ctx, p.Files)
	c := newCollector(p)
	var last time.Time // when the last digit came
	collect := func() (stop bool) {
		for !c.done {
			d, ok := k.keys.pop()
			if !ok {
				break
			}
			last = d.at
			c.put(d.digit)
			stop = stop || strings.IndexByte(p.BargeIn, d.digit) >= 0
		}
		return stop
	}
	bad, err := k.playFiles(ctx, paths, collect)
	if err != nil {
		return result{}, err
	}
	if err := k.await(ctx, p, c, collect, &last); err != nil {
		return result{}, err
	}
	if c.done {
		k.from, k.fromKey = last, true
	}
	r := c.result()
	if missing = append(missing, bad...); len(missing) > 0 {
		r.data["missing"] = few(missing)
	}
	return r, nil
}

// await collects, with the files behind it, until the input is done or a time has passed.
func (k *call) await(ctx context.Context, p api.CommandParams, c *collector, collect func() bool, last *time.Time) error {
	first := time.Duration(orDefault(p.TimeoutMS, firstDigitMS)) * time.Millisecond
	between := time.Duration(orDefault(p.InterDigitMS, interDigitMS)) * time.Millisecond
	timer := time.NewTimer(first)
	defer timer.Stop()
	collect()
	for !c.done {
		if len(c.digits) > 0 {
			timer.Reset(between - min(time.Since(*last), between))
		}
		if _, why := k.next(ctx, timer.C); why != wakeEvent {
			return nil
		}
		collect()
		if k.gap {
			return errAgain
		}
	}
	return nil
}

func orDefault(ms, otherwise int) int {
	if ms <= 0 {
		return otherwise
	}
	return ms
}

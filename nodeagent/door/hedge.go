package door

import (
	"bytes"
	"net/http"
	"time"
)

// outcome is what one brain said to a hedged question.
type outcome struct {
	answer answer
	err    error
}

// usable reports whether an outcome ends the question; a brain's own fault does not while another
// brain is left.
func (o outcome) usable() bool {
	return o.err == nil && (o.answer.status == http.StatusOK || o.answer.status == http.StatusBadRequest)
}

// hedge asks the brains in order of preference: the next when the one before has been silent for
// HedgeAfter or has failed. The first usable answer wins and the others are cut.
func (d *Door) hedge(q question) (answer, error) {
	q.body = bytes.Clone(q.body) // a slower brain may still be reading it after the answer
	var (
		results = make(chan outcome, len(d.brains))
		asked   []*exchange
		waiting int
		last    = outcome{err: errOpen}
		next    int
		timer   = time.NewTimer(d.cfg.HedgeAfter)
	)
	defer timer.Stop()
	askNext := func() {
		for next < len(d.brains) && time.Now().Before(q.deadline) {
			b := d.brains[next]
			next++
			if b.open.Load() {
				continue
			}
			x := &exchange{question: q}
			asked = append(asked, x)
			waiting++
			go func() {
				got, err := b.ask(x)
				results <- outcome{got, err}
			}()
			timer.Reset(d.cfg.HedgeAfter)
			return
		}
	}
	defer func() {
		for _, x := range asked {
			x.abort(errLost)
		}
		if len(asked) > 1 {
			d.hedged.Add(1)
		}
	}()
	askNext()
	for waiting > 0 {
		select {
		case <-timer.C:
			askNext()
		case last = <-results:
			waiting--
			if last.usable() {
				return last.answer, nil
			}
			askNext()
		}
	}
	return last.answer, last.err
}

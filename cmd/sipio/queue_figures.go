package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

// defaultPeriod is the brain's own when none is asked for, maxPeriod what it keeps.
const (
	defaultPeriod = 24 * time.Hour
	maxPeriod     = acd.Intervals * acd.IntervalMS * time.Millisecond
)

// period is what figures are about: up to now.
type period struct{ last time.Duration }

func (p *period) addFlag(cmd *cobra.Command) {
	addTerm(cmd.Flags(), &p.last, "last", "figures of the last so long, by quarter hours; at most "+short(maxPeriod))
}

// ask is the period as a brain is asked for it.
func (p *period) ask() (client.Period, error) {
	switch {
	case p.last <= 0 || p.last > maxPeriod:
		return client.Period{}, fmt.Errorf("--last %v: give more than 0 and at most %s", p.last, short(maxPeriod))
	case p.last == defaultPeriod:
		return client.Period{}, nil
	}
	return client.Period{FromMS: time.Now().Add(-p.last).UnixMilli()}, nil
}

// writeFigures writes the figures of a queue, a line for each kind. What is not known is a -.
func writeFigures(w io.Writer, last time.Duration, f api.Figures) error {
	_, err := fmt.Fprintf(w, "figures of the last %s: %d offered, %d answered, %d abandoned (%d short), %d timed out, %d overflowed, %d by key\n"+
		"abandon rate %s, service level %s, ASA %s, AHT %s\n",
		short(last), f.Offered, f.Answered, f.Abandoned, f.ShortAbandon, f.TimedOut, f.Overflowed, f.OptionOut,
		dash(percent(f.AbandonRate)), dash(percent(f.ServiceLevel)), dash(mean(f.ASAMS)), dash(mean(f.AHTMS)))
	return err
}

// short is a duration without its noughts: 24h, 15m, 1h30m.
func short(d time.Duration) string {
	return strings.Replace(strings.Replace(d.String(), "m0s", "m", 1), "h0m", "h", 1)
}

// clock writes milliseconds as people read a wait: 0:42, 12:05, 1:02:03, from a day on 3d 4h.
func clock(ms int64) string {
	sec := max(ms, 0) / 1000
	switch {
	case sec >= 86400:
		return fmt.Sprintf("%dd %dh", sec/86400, sec%86400/3600)
	case sec >= 3600:
		return fmt.Sprintf("%d:%02d:%02d", sec/3600, sec%3600/60, sec%60)
	}
	return fmt.Sprintf("%d:%02d", sec/60, sec%60)
}

// since is how long ago a time was, "" for none.
func since(atMS, ms int64) string {
	if ms == 0 {
		return ""
	}
	return clock(atMS - ms)
}

// expected is an expected wait; -1 is one that is not known.
func expected(ms int64) string {
	if ms < 0 {
		return "unknown"
	}
	return clock(ms)
}

// count, mean and percent are cells of figures; "" when nothing is known.
func count(n int64) string { return strconv.FormatInt(n, 10) }

func mean(ms *float64) string {
	if ms == nil {
		return ""
	}
	return clock(int64(*ms))
}

func percent(ratio *float64) string {
	if ratio == nil {
		return ""
	}
	return strconv.FormatFloat(*ratio*100, 'f', 1, 64) + "%"
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

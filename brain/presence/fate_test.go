package presence

import (
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Proves when a call without a place is known to be up, and when to be over: by its node's reports alone, two of them in a row, begun well after the
// call was asked about; never by the silence of its node, nor by what was reported before this machine was made.
func TestFate_IsWhatTwoReportsSay(t *testing.T) {
	const asked = 100_000
	type report struct {
		node  string
		taken int64
		lists bool
	}
	for name, c := range map[string]struct {
		reports []report
		want    Fate
		seen    int64
	}{
		"nothing is heard":          {nil, Unknown, 0},
		"listed":                    {[]report{{"n1", 200_000, true}}, Up, 200_000},
		"listed again":              {[]report{{"n1", 200_000, false}, {"n1", 205_000, true}}, Up, 205_000},
		"one does not list it":      {[]report{{"n1", 200_000, false}}, Unknown, 0},
		"nor the one before":        {[]report{{"n1", 200_000, true}, {"n1", 205_000, false}}, Unknown, 0},
		"two do not list it":        {[]report{{"n1", 200_000, true}, {"n1", 205_000, false}, {"n1", 210_000, false}}, Over, 0},
		"two that are one":          {[]report{{"n1", 200_000, false}, {"n1", 200_500, false}}, Unknown, 0},
		"those of another node":     {[]report{{"n2", 200_000, false}, {"n2", 205_000, false}}, Unknown, 0},
		"the first was too early":   {[]report{{"n1", 105_000, false}, {"n1", 115_000, false}}, Unknown, 0},
		"both were late enough":     {[]report{{"n1", 111_000, false}, {"n1", 116_000, false}}, Over, 0},
		"the node lists it at last": {[]report{{"n1", 200_000, false}, {"n1", 205_000, false}, {"n1", 210_000, true}}, Up, 210_000},
	} {
		m := New("acc_1")
		for i, r := range c.reports {
			report := &Report{Node: r.node, Boot: "b", Seq: int64(i) + 1, TakenMS: r.taken}
			if r.lists {
				report.Dialogs = []Dialog{{Token: "t1", CallID: "c1", SinceMS: r.taken}}
			}
			if op := m.Observe(r.taken, report); op != nil {
				t.Fatalf("%s: it gets a place", name)
			}
		}
		if f, seen := m.Fate("t1", "n1", asked); f != c.want || seen != c.seen {
			t.Errorf("%s: %d, seen at %d; want %d, %d", name, f, seen, c.want, c.seen)
		}
	}
}

// Proves that the words of a call say which directive it went by, and that a place lost by silence or by hand is no word of an end.
func TestWords_SayTheAttemptAndWhatIsOnlyLost(t *testing.T) {
	m := New("acc_1")
	start := Event{Event: api.Event{Type: api.EventDialogStart, Token: "t1", CallID: "c1", TimeMS: 5000, Attempt: 34}}
	if _, _, err := m.Apply(5000, AppendEvents(nil, "n1", []Event{start})); err != nil {
		t.Fatal(err)
	}
	if w := m.Words(); len(w) != 1 || w[0] != (Word{"t1", "c1", api.EventDialogStart, 5000, 34}) {
		t.Errorf("%+v", w)
	}
	for why, want := range map[string]string{WhyAbsent: TypeGone, WhyReset: TypeLost, WhyLease: TypeLost} {
		m := New("acc_1")
		if _, _, err := m.Apply(5000, AppendEvents(nil, "n1", []Event{start})); err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.Apply(6000, AppendRelease(nil, []string{"t1"}, why)); err != nil {
			t.Fatal(err)
		}
		if w := m.Words(); len(w) != 1 || w[0].Type != want || w[0].Token != "t1" {
			t.Errorf("%s: %+v", why, w)
		}
	}
}

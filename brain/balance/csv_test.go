package balance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

const csvHeader = "prefix,connect,per_minute,interval_first_sec,interval_next_sec,effective_from\n"

// Proves that every form of a file is read: columns in any order, decimal or micro-units, a semicolon, a mark of the byte order,
// dates, quotes, and lines that end as Windows ends them.
func TestReadCSV_ReadsEveryForm(t *testing.T) {
	want := []Rate{{"49", Terms{10_000, 12_500, 60, 1}, 1_767_225_600}}
	for name, text := range map[string]string{
		"decimal":    csvHeader + "49,0.01,0.0125,60,1,2026-01-01\n",
		"micros":     "per_minute_micros,prefix,connect_micros,effective_from,interval_next_sec,interval_first_sec\n12500,49,10000,1767225600,1,60",
		"mixed":      "prefix,connect_micros,per_minute,interval_first_sec,interval_next_sec,effective_from\r\n49,10000,0.0125,60,1,2026-01-01T01:00:00+01:00\r\n",
		"semicolons": "\ufeff" + strings.ReplaceAll(csvHeader, ",", ";") + "\"49\"; 0.01 ;0.01250;60;1;2026-01-01\n\n",
	} {
		if got, err := ReadCSV([]byte(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := ReadCSV([]byte(csvHeader)); err != nil || len(got) != 0 {
		t.Errorf("no rates: %v, %v", got, err)
	}
}

// Proves that each mistake is told by line and field, all of them at once, and that no rate comes of a file with one.
func TestReadCSV_TellsEveryMistake(t *testing.T) {
	text := csvHeader +
		"49,0.01,0.0125,60,1,2026-01-01\n" + // 2
		"+49,0.01,0.0125,60,1,2026-01-01\n" + // 3
		"33,x,\"0,5\",60,1,2026-01-01\n" + // 4
		"33,0,0.0000001,60,1,2026-01-01\n" + // 5
		"33,0,-1,60,1,2026-01-01\n" + // 6
		"33,0,1,0,99999999999,yesterday\n" + // 7: what cannot be read is told before what is out of bounds
		"33,0,1,60\n" + // 8
		"34,0,1,60,\"1,2026-01-01\nand 35,0,1,60,1,2026-01-01\n" // 9 to the end
	rates, err := ReadCSV([]byte(text))
	if rates != nil || brain.CodeOf(err) != brain.EInvalid {
		t.Fatalf("%v, %v", rates, err)
	}
	var got []string
	for _, f := range err.(*brain.Error).Fields {
		got = append(got, fmt.Sprint(f.Line, " ", f.Path))
	}
	want := []string{"3 prefix", "4 connect", "4 per_minute", "5 per_minute", "6 per_minute", "7 effective_from", "8 line", "9 line"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\n%v", got, err)
	}
	twice := csvHeader + "49,0,1,60,1,0\n33,0,1,60,1,0\n49,0,2,60,1,0\n"
	if _, err := ReadCSV([]byte(twice)); err == nil || !strings.Contains(err.Error(), "line 4: prefix: 49 from this time stands in line 2 already") {
		t.Errorf("twice: %v", err)
	}
}

// Proves what is told of a wrong first line, and that mistakes are bounded.
func TestReadCSV_HeaderAndBounds(t *testing.T) {
	for text, want := range map[string]string{
		"": "no line that names", "prefix,price\n": `"price" is no column`, "prefix\n": "connect_micros is missing",
		"prefix,prefix\n": "prefix is there twice", "connect,connect_micros\n": "connect_micros and connect say the same",
	} {
		if _, err := ReadCSV([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err := ReadCSV([]byte(csvHeader + strings.Repeat("x,0,1,60,1,0\n", 3*MaxCSVErrors)))
	if n := len(err.(*brain.Error).Fields); n != MaxCSVErrors || !strings.Contains(err.Error(), "300 mistakes") {
		t.Errorf("%d mistakes are told of 300: %.60v", n, err)
	}
	if _, err := ReadCSV([]byte(csvHeader + "x,0,1,60,1,0\n")); err.(*brain.Error).Text != "1 mistake, nothing was changed" {
		t.Errorf("one mistake: %v", err)
	}
	if _, err := ReadCSV(make([]byte, MaxCSV+1)); brain.CodeOf(err) != brain.EInvalid {
		t.Errorf("too large: %v", err)
	}
}

// Proves what a file makes of a plan: what is added, changed, ended and left, and that the same file once more changes nothing.
func TestPlanImport(t *testing.T) {
	const now, soon = 1000, 2000
	price := func(prefix string, perMinute, from int64) Rate {
		return Rate{prefix, Terms{0, perMinute, 60, 60}, from}
	}
	before, err := NewPlan("EUR", []Rate{
		price("1", 10, 100), price("33", 20, 100), price("44", 30, 50), price("44", 31, 500), price("44", 32, 1500), price("49", 40, 100), price("7", 70, 100)})
	if err != nil {
		t.Fatal(err)
	}
	list := []Rate{price("7", 70, 100), price("49", 41, 100), price("44", 35, soon), price("1", 11, 900), price("90", 5, soon)}
	in, err := PlanImport(before, "EUR", list, now)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range in.Changes {
		got = append(got, fmt.Sprint(c.Kind, " ", c.Old.Prefix, " ", c.Old.PerMinuteMicros, " ", c.New.Prefix, " ", c.New.PerMinuteMicros))
	}
	want := []string{"ended 1 10  0", "added  0 1 11", "ended 33 20  0", "ended 44 30  0", "ended 44 32  0", "added  0 44 35", "changed 49 40 49 41", "added  0 90 5"}
	if !slices.Equal(got, want) || in.Added != 3 || in.Changed != 1 || in.Ended != 4 || in.Unchanged != 2 {
		t.Errorf("%q, %d added, %d changed, %d ended, %d unchanged", got, in.Added, in.Changed, in.Ended, in.Unchanged)
	}
	if in.Plan.Len() != before.Len()+in.Added-in.Ended {
		t.Errorf("%d rates", in.Plan.Len())
	}
	for at, micros := range map[int64]int64{now: 31, soon: 35} {
		if r, ok := in.Plan.Lookup("4420", at); !ok || r.PerMinuteMicros != micros {
			t.Errorf("44 at %d: %v", at, r)
		}
	}
	again, err := PlanImport(in.Plan, "EUR", list, now)
	if err != nil || len(again.Changes) != 0 || again.Unchanged != in.Plan.Len() {
		t.Errorf("once more: %v, %v", again.Changes, err)
	}
	if _, err := PlanImport(nil, "EUR", []Rate{price("1", -1, 0)}, now); err == nil {
		t.Error("a wrong rate is taken")
	}
	if in, err := PlanImport(before, "EUR", nil, now); !errors.Is(err, ErrNoRates) || in != nil {
		t.Errorf("a file with its first line alone ends the whole price list: %+v, %v", in, err)
	}
	if first, err := PlanImport(nil, "EUR", list, now); err != nil || first.Added != len(list) {
		t.Errorf("into nothing: %v", err)
	}
}

// Reads any bytes as a file of rates. Proves that none makes it panic, that what is read are right rates or errors with lines, never
// both, and that a plan is made of them.
func FuzzReadCSV(f *testing.F) {
	f.Add([]byte(csvHeader + "49,0.01,0.0125,60,1,2026-01-01\n"))
	f.Add([]byte("prefix;connect_micros;per_minute_micros;interval_first_sec;interval_next_sec;effective_from\n1;0;1;2;3;4\n\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rates, err := ReadCSV(text)
		if err != nil {
			e, ok := err.(*brain.Error)
			if !ok || rates != nil || len(e.Fields) == 0 || len(e.Fields) > MaxCSVErrors {
				t.Fatalf("%v and %d rates", err, len(rates))
			}
			for _, field := range e.Fields {
				if field.Line < 1 || field.Path == "" || field.Text == "" {
					t.Fatalf("%+v", field)
				}
			}
			return
		}
		in, err := PlanImport(nil, "EUR", rates, 1000)
		if err != nil && !strings.Contains(err.Error(), ErrMany.Error()) && len(rates) > 0 || err == nil && in.Plan.Len() != len(rates) {
			t.Fatal(err)
		}
	})
}

// What it costs to read a file of 200,000 rates, and to compare it with a plan as large.
func BenchmarkImport(b *testing.B) {
	var text strings.Builder
	text.WriteString(csvHeader)
	rates := worldRates(200_000)
	for _, r := range rates {
		fmt.Fprintf(&text, "%s,0,%s,60,60,2026-01-01\n", r.Prefix, FormatMicros(r.PerMinuteMicros))
	}
	file := []byte(text.String())
	b.Run("read/200000", func(b *testing.B) {
		for b.Loop() {
			if _, err := ReadCSV(file); err != nil {
				b.Fatal(err)
			}
		}
	})
	before, err := NewPlan("EUR", rates)
	if err != nil {
		b.Fatal(err)
	}
	after, _ := ReadCSV(file)
	b.Run("compare/200000", func(b *testing.B) {
		for b.Loop() {
			if _, err := PlanImport(before, "EUR", after, 1_750_000_000); err != nil {
				b.Fatal(err)
			}
		}
	})
}

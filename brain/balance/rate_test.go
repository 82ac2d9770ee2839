package balance

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// Holds the rating to cases worked out by hand: intervals, the connect fee, and the one rounding of the price.
func TestTerms_ChargeOfCasesByHand(t *testing.T) {
	for _, row := range []struct {
		name         string
		t            Terms
		talkMS       int64
		billed, cost int64
	}{
		{"answered for no time: the first interval", Terms{0, 60_000, 60, 60}, 0, 60, 60_000},
		{"a millisecond", Terms{0, 60_000, 60, 60}, 1, 60, 60_000},
		{"exactly the first interval", Terms{0, 60_000, 60, 60}, 60_000, 60, 60_000},
		{"a millisecond more begins the next", Terms{0, 60_000, 60, 60}, 60_001, 120, 120_000},
		{"two minutes exactly", Terms{0, 60_000, 60, 60}, 120_000, 120, 120_000},
		{"by the second: 1 s", Terms{0, 60_000, 1, 1}, 1, 1, 1_000},
		{"by the second: 59.001 s are 60", Terms{0, 60_000, 1, 1}, 59_001, 60, 60_000},
		{"30/6 at 30 s", Terms{0, 10_000, 30, 6}, 30_000, 30, 5_000},
		{"30/6 at 30.001 s: 36 s", Terms{0, 10_000, 30, 6}, 30_001, 36, 6_000},
		{"30/6 at 36 s", Terms{0, 10_000, 30, 6}, 36_000, 36, 6_000},
		{"30/6 at 100 s: 30 + 12 × 6 = 102 s", Terms{0, 10_000, 30, 6}, 100_000, 102, 17_000},
		{"connect fee once", Terms{50_000, 12_000, 60, 1}, 61_500, 62, 62_400},
		{"connect fee alone", Terms{50_000, 0, 60, 60}, 3_600_000, 3600, 50_000},
		{"free", Terms{0, 0, 60, 60}, 3_600_000, 3600, 0},
		{"1 s of 1 micro a minute: 1/60 is rounded up", Terms{0, 1, 1, 1}, 1_000, 1, 1},
		{"60 s of 1 micro a minute", Terms{0, 1, 1, 1}, 60_000, 60, 1},
		{"61 s of 1 micro a minute: 61/60 is rounded up once", Terms{0, 1, 1, 1}, 61_000, 61, 2},
		{"7 s of 100 micros: 700/60 = 11.67", Terms{0, 100, 1, 1}, 7_000, 7, 12},
		{"6 s of 100 micros: exactly 10", Terms{0, 100, 1, 1}, 6_000, 6, 10},
		{"not by interval: 3 × 20 s of 100 are 100, not 3 × 34", Terms{0, 100, 20, 20}, 60_000, 60, 100},
		{"the first interval longer than the next", Terms{0, 60, 180, 1}, 180_500, 181, 181},
		{"the next longer than the first", Terms{0, 60, 1, 60}, 1_001, 61, 61},
		{"an hour of 0.0125 by 6 s, 0.01 to connect", Terms{10_000, 12_500, 6, 6}, 3_599_999, 3600, 760_000},
		{"an odd hour: 3601.2 s by the second of 0.0077", Terms{0, 7_700, 1, 1}, 3_601_200, 3602, 462_257},
		{"a week of the dearest", Terms{MaxPriceMicros, MaxPriceMicros, 60, 60}, MaxTalkMS, 604_800, 10_081_000_000_000_000},
	} {
		if err := row.t.Check(); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		if billed, cost := row.t.BilledSec(row.talkMS), row.t.Charge(row.talkMS); billed != row.billed || cost != row.cost {
			t.Errorf("%s: %d s for %d, want %d s for %d", row.name, billed, cost, row.billed, row.cost)
		}
	}
}

// Proves over random terms that Affords is the most that an amount pays for: what it gives costs no more, and a second more would.
func TestTerms_AffordsIsTheMostThatIsPaidFor(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		terms := Terms{rng.Int64N(3) * rng.Int64N(50_000), rng.Int64N(3) * rng.Int64N(90_000), int32(1 + rng.IntN(70)), int32(1 + rng.IntN(70))}
		micros, most := rng.Int64N(400_000)-1000, 1+rng.Int64N(500)
		sec := terms.Affords(micros, most)
		if sec < 0 || sec > most || sec > 0 && !terms.Free() && terms.Charge(sec*1000) > micros {
			t.Fatalf("%+v for %d: %d of %d s cost %d", terms, micros, sec, most, terms.Charge(sec*1000))
		}
		if sec < most && (terms.Free() || terms.Charge((sec+1)*1000) <= micros) {
			t.Fatalf("%+v for %d: %d of %d s, and one more would cost %d", terms, micros, sec, most, terms.Charge((sec+1)*1000))
		}
	}
}

// Proves what terms and rates are refused, by the name of the field.
func TestRate_CheckNamesTheField(t *testing.T) {
	good := Rate{"49", Terms{0, 1, 60, 60}, 0}
	for field, spoil := range map[string]func(*Rate){
		"prefix": func(r *Rate) { r.Prefix = "" }, "prefix:": func(r *Rate) { r.Prefix = "+49" }, "prefix: ": func(r *Rate) { r.Prefix = strings.Repeat("1", 16) },
		"connect_micros": func(r *Rate) { r.ConnectMicros = -1 }, "per_minute_micros": func(r *Rate) { r.PerMinuteMicros = MaxPriceMicros + 1 },
		"interval_first_sec": func(r *Rate) { r.FirstSec = 0 }, "interval_next_sec": func(r *Rate) { r.NextSec = 3601 }, "effective_from": func(r *Rate) { r.EffectiveFrom = -1 },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Check(); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

// Holds amounts as text to cases worked out by hand, both ways.
func TestParseMicros_IsExactOrRefuses(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1": 1_000_000, "0.0125": 12_500, "-0.0075": -7_500, "12.5": 12_500_000, "0.000001": 1,
		"0.1234560": 123_456, "007.10": 7_100_000, "10000000000": MaxMicros, "-0": 0, "0.1": 100_000, "0.3": 300_000, "1.10": 1_100_000} {
		if got, err := ParseMicros(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]error{"": ErrNoAmount, ".5": ErrNoAmount, "5.": ErrNoAmount, "1,5": ErrNoAmount, "1e3": ErrNoAmount, "+1": ErrNoAmount, " 1": ErrNoAmount,
		"--1": ErrNoAmount, "1.2.3": ErrNoAmount, "€1": ErrNoAmount, "٣": ErrNoAmount, "0.0000001": ErrDecimals, "10000000000.000001": ErrAmount, "99999999999999999999": ErrAmount,
		strings.Repeat("0", 65): ErrNoAmount} {
		if _, err := ParseMicros(text); err != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	for v, want := range map[int64]string{0: "0.00", 1: "0.000001", -12_500: "-0.0125", 7_100_000: "7.10", -1 << 63: "-9223372036854.775808"} {
		if got := FormatMicros(v); got != want {
			t.Errorf("%d: %s, want %s", v, got, want)
		}
	}
}

// Reads any text as an amount. Proves that what is read is what a rational number says, and that it is written and read again the same.
func FuzzParseMicros(f *testing.F) {
	for _, s := range []string{"0.0125", "-7", "1.0000000", "10000000001", "1e3", "0x1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseMicros(s)
		if err != nil {
			return
		}
		exact, ok := new(big.Rat).SetString(s)
		if !ok || exact.Cmp(big.NewRat(v, unit)) != 0 {
			t.Fatalf("%q: %d", s, v)
		}
		if again, err := ParseMicros(FormatMicros(v)); err != nil || again != v {
			t.Fatalf("%d: %q, then %d, %v", v, FormatMicros(v), again, err)
		}
	})
}

package number

import (
	"strings"
	"sync"
	"testing"

	plan "github.com/nyaruka/phonenumbers"
)

// Proves what people dial in nine countries and what a carrier may send there: international in every way, national with
// the trunk prefix, and without it where nobody dials one. want is the number, or the reason that there is none; a
// second word is what Received makes of it when that differs.
func TestNormalize_ByCountry(t *testing.T) {
	for country, dialed := range map[string]map[string]string{
		"DE": {
			"030 1234567": "49301234567", "+49301234567": "49301234567", "+49 (0)30 1234567": "49301234567", "0049301234567": "49301234567", "493012345678": "493012345678",
			"0177/1234567": "491771234567", "0033142685300": "33142685300", "011442079460018": "442079460018", "030100": "4930100", "+4930100": "4930100", "0800 1234567": "498001234567",
			"1002": string(Prefixless), "3012345": string(Prefixless) + "|493012345", "01002": string(Impossible), "0": string(Impossible), "00": string(Impossible),
			"112": string(Emergent), "1-1-0": string(Emergent), "1125": string(Prefixless), "+112": string(Impossible), "11833": string(ShortCode), "116117": string(ShortCode),
			"33142685300": string(Prefixless) + "|33142685300", "+4912": string(Impossible), "+999123456789": string(Impossible) + "|999123456789",
		},
		"FR": {
			"01 42 68 53 00": "33142685300", "+33142685300": "33142685300", "+33 (0)142685300": "33142685300", "0033142685300": "33142685300", "0612345678": "33612345678",
			"0049301234567": "49301234567", "142685300": string(Prefixless) + "|33142685300", "3639": string(ShortCode), "15": string(Emergent), "2001": string(Prefixless),
			"014268530": string(Impossible), "01426853001": string(Impossible),
		},
		"GB": {
			"020 7946 0018": "442079460018", "+442079460018": "442079460018", "+44 (0)20 7946 0018": "442079460018", "00442079460018": "442079460018", "07400 123456": "447400123456",
			"00 353 1 234 5678": "35312345678", "2079460018": string(Prefixless) + "|442079460018", "79460018": string(Impossible), "999": string(Emergent), "112": string(Emergent), "101": string(ShortCode),
		},
		"US": {
			"(415) 555-2671": "14155552671", "1-415-555-2671": "14155552671", "+1.415.555.2671": "14155552671", "011 49 30 12345678": "493012345678", "0049 30 12345678": "493012345678",
			"8005551234": "18005551234", "5552671": string(Prefixless), "911": string(Emergent), "411": string(ShortCode), "1001": string(Prefixless), "493012345678": string(Impossible) + "|493012345678",
		},
		"IT": {
			"06 6981 2345": "390669812345", "+390669812345": "390669812345", "00390669812345": "390669812345", "3331234567": "393331234567", "+39 333 1234567": "393331234567",
			"0049301234567": "49301234567", "669812345": string(Impossible), "113": string(Emergent), "118": string(Emergent), "201": string(Prefixless),
		},
		"ES": {
			"912 345 678": "34912345678", "+34912345678": "34912345678", "0034912345678": "34912345678", "34912345678": "34912345678", "612345678": "34612345678",
			"0049301234567": "49301234567", "112": string(Emergent), "101": string(Prefixless), "49301234567": string(Impossible) + "|49301234567",
		},
		"RU": {
			"8 (495) 123-45-67": "74951234567", "+74951234567": "74951234567", "4951234567": "74951234567", "74951234567": "74951234567", "8 10 49 30 1234567": "49301234567",
			"81074951234567": "74951234567", "0049301234567": "49301234567", "102": string(Emergent), "112": string(Emergent), "1001": string(Prefixless),
		},
		"AU": {
			"02 9123 4567": "61291234567", "+61291234567": "61291234567", "+61 (0)2 9123 4567": "61291234567", "0011 61 2 9123 4567": "61291234567", "0011493012345678": "493012345678",
			"00493012345678": "493012345678", "0491 570 156": "61491570156", "1300 123 456": "611300123456", "13 12 34": "61131234", "000": string(Emergent), "112": string(Emergent),
			"91234567": string(Impossible), "1001": string(Prefixless),
		},
		"SG": {
			"6123 4567": "6561234567", "+6561234567": "6561234567", "65 6123 4567": "6561234567", "001 49 30 12345678": "493012345678", "00493012345678": "493012345678",
			"999": string(Emergent), "995": string(Emergent), "1777": string(ShortCode), "2001": string(Prefixless),
		},
		"IN": {"98765 43210": "919876543210", "098765 43210": "919876543210"},
		"MX": {"55 1234 5678": "525512345678", "00 49 30 12345678": "493012345678"},
		"JP": {"03-1234-5678": "81312345678", "010 49 30 12345678": "493012345678"},
		"":   {"+49301234567": "49301234567", "0049301234567": "49301234567|", "01149301234567": "49301234567|", "49301234567": string(NoCountry), "030123456": string(NoCountry), "112": string(Emergent), "911": string(Emergent)},
		"XX": {"+49301234567": "49301234567", "030123456": string(Impossible), "112": string(Impossible)},
	} {
		for s, want := range dialed {
			want, received, differs := strings.Cut(want, "|")
			e164, why := Normalize(country, s)
			if got := e164 + string(why); got != want || e164 != "" && why != "" {
				t.Errorf("%s in %q: %q %q, want %s", s, country, e164, why, want)
			}
			if !differs {
				received = e164
			}
			if got := Received(country, s); got != received {
				t.Errorf("%s received in %q: %q, want %q", s, country, got, received)
			}
		}
	}
}

// Proves that what is not made of digits is refused, however long it is and whatever it holds.
func TestNormalize_RefusesWhatIsNoNumber(t *testing.T) {
	for _, s := range []string{"", "+", " ", "++49301234567", "49+30", "reception", "030abc1234", "0301234567;ext=1", "0301234567x12", "٠٣٠١٢٣٤٥٦٧", "030\x001234567", "030\n1234567", "*67030123456",
		"#31#030123456", "tel:+49301234567", strings.Repeat("1", maxDialed+1), strings.Repeat("0", 1<<20)} {
		if e164, why := Normalize("DE", s); e164 != "" || why != Unreadable {
			t.Errorf("%.40q: %q %q", s, e164, why)
		}
		if got := Received("DE", s); got != "" {
			t.Errorf("%.40q received: %q", s, got)
		}
		if Emergency("DE", s) {
			t.Errorf("%.40q is an emergency", s)
		}
	}
}

// Proves how a number is written for people of its country and of another one, and that what is none stands as it is.
func TestDisplay_NationalAtHome(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"DE", "49301234567"}: "030 1234567", {"FR", "49301234567"}: "+49 30 1234567", {"", "49301234567"}: "+49 30 1234567", {"FR", "33142685300"}: "01 42 68 53 00",
		{"GB", "442079460018"}: "020 7946 0018", {"US", "14155552671"}: "(415) 555-2671", {"CA", "14155552671"}: "(415) 555-2671", {"IT", "390669812345"}: "06 6981 2345",
		{"ES", "34912345678"}: "912 34 56 78", {"RU", "74951234567"}: "8 (495) 123-45-67", {"AU", "61291234567"}: "(02) 9123 4567", {"SG", "6561234567"}: "6123 4567",
		{"SG", "61291234567"}: "+61 2 9123 4567", {"DE", "1002"}: "1002", {"DE", ""}: "", {"DE", "anonymous"}: "anonymous", {"DE", "0301234567"}: "0301234567",
	} {
		if got := Display(in[0], in[1]); got != want {
			t.Errorf("%s in %q: %q, want %q", in[1], in[0], got, want)
		}
	}
}

// Proves for an example of every kind of number of every country of the tables that what it looks like at home is read
// back as the number there, as is its E.164 form anywhere.
func TestNormalize_ReadsBackWhatIsDisplayed(t *testing.T) {
	countries, numbers := 0, 0
	for country := range plan.GetSupportedRegions() {
		countries++
		for kind := plan.FIXED_LINE; kind <= plan.VOICEMAIL; kind++ {
			example := plan.GetExampleNumberForType(country, kind)
			if example == nil || !plan.IsValidNumber(example) {
				continue
			}
			numbers++
			e164 := digitsOf(example)
			if !ValidE164(e164) {
				t.Errorf("%s of %s is not valid", e164, country)
			}
			if got, why := Normalize("FR", "+"+e164); got != e164 {
				t.Errorf("+%s in FR: %s %s", e164, got, why)
			}
			if got, why := Normalize("US", "011"+e164); got != e164 {
				t.Errorf("011%s in US: %s %s", e164, got, why)
			}
			shown := Display(country, e164)
			if got, why := Normalize(country, shown); got != e164 {
				t.Errorf("%s in %s: %s %s, want %s", shown, country, got, why, e164)
			}
		}
	}
	if countries < 240 || numbers < 1000 {
		t.Errorf("%d countries, %d numbers", countries, numbers)
	}
}

// Proves which countries there are: in capitals only.
func TestKnown_IsAlpha2InCapitals(t *testing.T) {
	for _, country := range []string{"DE", "US", "GB", "SG"} {
		if !Known(country) {
			t.Errorf("%s is not known", country)
		}
	}
	for _, country := range []string{"", "de", "XX", "EU", "UK", "001", "DEU"} {
		if Known(country) {
			t.Errorf("%q is known", country)
		}
	}
}

// Proves that many may read numbers at once, the tables of a country being compiled when they are first needed.
func TestNormalize_FromManyAtOnce(t *testing.T) {
	var all sync.WaitGroup
	countries := []string{"BE", "NL", "PL", "SE", "AT", "CH", "BR", "ZA"}
	for range 8 {
		all.Go(func() {
			for _, country := range countries {
				example := digitsOf(plan.GetExampleNumber(country))
				if got, why := Normalize(country, Display(country, example)); got != example {
					t.Errorf("%s in %s: %q %s", example, country, got, why)
				}
				Emergency(country, "112")
			}
		})
	}
	all.Wait()
}

// Takes any bytes. Proves that nothing panics, that a number that comes out is E.164 and reads as itself, and that a
// string is a number or has one reason not to be.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"+49 (0)30 1234567", "0049301234567", "011442079460018", "8~10", "110", "\xff\x00", "++", "00000000000000000", "+1", "151112345678901", "0151123456789"} {
		for _, country := range []string{"DE", "US", "BR", "IT", "AR", "", "xx"} {
			f.Add(country, s)
		}
	}
	f.Fuzz(func(t *testing.T, country, s string) {
		if len(country) > 2 {
			country = country[:2]
		}
		e164, why := Normalize(country, s)
		if (e164 == "") == (why == "") || why == Emergent != Emergency(country, s) {
			t.Fatalf("%q %q, emergency %v", e164, why, Emergency(country, s))
		}
		received := Received(country, s)
		for _, n := range []string{e164, received} {
			if n == "" {
				continue
			}
			if !digitsOnly(n) || len(n) > maxE164 || n[0] == '0' {
				t.Fatalf("%q", n)
			}
			if again := Received(country, "+"+n); again != n {
				t.Fatalf("%q is received as %q", n, again)
			}
		}
		if e164 != "" {
			if again, why := Normalize(country, "+"+e164); again != e164 {
				t.Fatalf("%q reads as %q %s", e164, again, why)
			}
			if !ValidE164(e164) {
				t.Fatalf("%q is not valid", e164)
			}
		}
		ValidE164(s)
		if shown := Display(country, s); shown != s && !ValidE164(s) {
			t.Fatalf("%q is shown as %q", s, shown)
		}
	})
}

// BenchmarkNumber tells what reading a number costs: E.164 with + needs no tables, everything else does.
func BenchmarkNumber(b *testing.B) {
	for _, s := range []string{"+4930123456", "4930123456", "030123456", "0033142685300", "1002"} {
		b.Run("received/"+s, func(b *testing.B) {
			for b.Loop() {
				Received("DE", s)
			}
		})
	}
	b.Run("normalize/030123456", func(b *testing.B) {
		for b.Loop() {
			_, _ = Normalize("DE", "030123456")
		}
	})
	b.Run("emergency/112", func(b *testing.B) {
		for b.Loop() {
			Emergency("DE", "112")
		}
	})
}

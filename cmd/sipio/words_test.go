package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Proves that a word that is no command of its group is an error that says which there are, a flag behind it or not; and that a
// group alone shows its help.
func TestGroups_RefuseWhatIsNoCommandOfTheirs(t *testing.T) {
	for line, want := range map[string]string{
		"sipio trunk bogus":         `! sipio: unknown command "bogus" for "sipio trunk": there are list, ping, show, test` + "\nexit status 1\n",
		"sipio trunk bogus --json":  `! sipio: unknown command "bogus" for "sipio trunk": there are list, ping, show, test` + "\nexit status 1\n",
		"sipio allow drop X":        `! sipio: unknown command "drop" for "sipio allow": there are add, list, rm` + "\nexit status 1\n",
		"sipio secret foo":          `unknown command "foo" for "sipio secret": there are key, list, rm, rotate, set`,
		"sipio secret key frob":     `unknown command "frob" for "sipio secret key": there are add, list, rm, use`,
		"sipio trunk --nonsense":    "unknown flag: --nonsense\nexit status 1\n",
		"sipio bogus":               `unknown command "bogus" for "sipio"`,
		"sipio trunk":               "sipio trunk [command]",
		"sipio help trunk":          "sipio trunk [command]",
		"sipio trunk list surplus":  "Usage: sipio trunk list",
		"sipio secret delete a b c": "Usage: sipio secret rm NAME",
	} {
		_, got, _ := strings.Cut(transcript(line), "\n")
		if !strings.Contains(got, want) || strings.HasPrefix(want, "!") && got != want {
			t.Errorf("%s: no %q in\n%s", line, want, got)
		}
	}
}

// Proves that every group has what makes it refuse: one that is added is held to it.
func TestGroups_AllRefuse(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if cmd.HasAvailableSubCommands() && !strings.Contains(transcript("sipio "+cmd.Name()+" no-such-word"), "exit status 1\n") {
			t.Errorf("sipio %s no-such-word is taken", cmd.Name())
		}
	}
}

// Proves that an amount below zero is no flag, wherever it stands, and that the value of a flag stays one.
func TestAmounts_BelowZeroAreNoFlags(t *testing.T) {
	for line, want := range map[string]string{
		"balance adjust -2.50 --account acme":    "balance adjust --account acme -- -2.50",
		"balance adjust --account acme -2.50":    "balance adjust --account acme -- -2.50",
		"balance adjust --account acme -- -2.50": "balance adjust --account acme -- -2.50",
		"balance adjust 1 --note -5":             "balance adjust 1 --note -5",
		"apply -f x":                             "apply -f x",
		"balance adjust -.5":                     "balance adjust -- -.5",
		"apply -f -":                             "apply -f -",
	} {
		if got := strings.Join(amounts(strings.Fields(line)), " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	if got := amounts(nil); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// Proves what is read as how long, and as since when.
func TestTerm_TakesDaysAndDates(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{"60d": 60 * day, "1d12h": day + 12*time.Hour, "90s": 90 * time.Second, "0": 0, "-1h": -time.Hour, "0d": 0,
		"d": -1, "1.5d": -1, "-1d": -1, "1d-1h": -1, "100001d": -1, "2w": -1, "": -1, "1dd": -1, "99999999999d": -1} {
		got, err := parseTerm(text)
		if (want == -1) != (err != nil) || err == nil && got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"7d": "2026-11-16T12:00:00Z", "2h": "2026-11-23T10:00:00Z", "2026-11-01": "2026-11-01T00:00:00Z",
		"2026-11-01T10:00:00+01:00": "2026-11-01T09:00:00Z", "yesterday": "", "-1h": ""} {
		got, err := parseSince(text, now)
		if (want == "") != (err != nil) || err == nil && got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	life := 365 * day
	if got := (termFlag{&life}).String(); got != "365d" {
		t.Errorf("a year is shown as %s", got)
	}
	if !slices.Equal(amounts([]string{"a"}), []string{"a"}) {
		t.Error("words are changed")
	}
}

// Proves that what is named is found: by a name that is one resource's, by an id as it is; and that others are refused with what to do.
func TestNames_StandForIds(t *testing.T) {
	t.Setenv("SIPIO_SERVER", newFakeBrain(t).URL)
	t.Setenv("SIPIO_KEY", tokenGood)
	for line, want := range map[string]string{
		"sipio get sip_user 1001":              `"username": "1001"`,
		"sipio delete sip_user 1002":           "deleted sip_user 1002\n",
		"sipio rm sip_user us_2":               "deleted sip_user us_2\n",
		"sipio delete sip_user 1009":           `no sip_user is called "1009": sipio get sip_user lists them`,
		"sipio key rm ci":                      "deleted api_key ci\n",
		"sipio key remove key_2":               "deleted api_key key_2\n",
		"sipio delete call_flow twice":         `2 of the kind call_flow are called "twice": say which by --account or by id`,
		"sipio ban list --node nosuch":         `no node is called "nosuch": sipio get node lists them` + "\nexit status 1\n",
		"sipio key create x --node nosuch":     `no node is called "nosuch"`,
		"sipio key create x --node edge1":      "sk_new\n",
		"sipio ban add 192.0.2.1 --why x":      "--for is missing",
		"sipio queue list":                     "! sipio: say which account: --account NAME\nexit status 1\n",
		"sipio allow add 192.0.2.0/24 --for y": "is not how long, such as 90s, 2h or 30d",
	} {
		if got := transcript(line); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// fakeMoney answers for the wallet of acc_1, which has had one top-up and one call, and for the plan retail.
func fakeMoney(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathBalance, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, api.BalanceState{AccountID: "acc_1", Currency: "EUR", RatePlan: "retail", BalanceMicros: 12_345_600, HeldMicros: 600_000, LimitMicros: 5_000_000, AvailableMicros: 16_745_600, Calls: 1})
	})
	mux.HandleFunc("POST "+api.PathBalanceTopUp, func(w http.ResponseWriter, r *http.Request) {
		var c api.BalanceChange
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil || c.ID != "1790000000000-X" || c.Micros != 12_500_000 || c.AskedMS != 1_790_000_000_000 || r.URL.Query().Get("account_id") != "acc_1" {
			t.Errorf("asked for %+v of %s, %v", c, r.URL, err)
		}
		reply(w, api.BalanceChanged{Repeated: true, BalanceMicros: 24_845_600, AvailableMicros: 29_245_600})
	})
	mux.HandleFunc("POST "+api.PathBalanceAdjust, func(w http.ResponseWriter, r *http.Request) {
		var c api.BalanceChange
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			t.Error(err)
		}
		reply(w, api.BalanceChanged{BalanceMicros: c.Micros})
	})
	mux.HandleFunc("GET "+api.PathBalanceStatement, func(w http.ResponseWriter, r *http.Request) {
		page := balance.Page{Movements: []balance.Movement{{Seq: 1, TimeMS: fakeNowMS, Kind: balance.TopUp, Micros: 20_000_000, AfterMicros: 20_000_000, Text: "key_1 cash"}}, Next: 1, More: true}
		if r.URL.Query().Get("after") == "1" {
			page = balance.Page{Movements: []balance.Movement{{Seq: 2, TimeMS: fakeNowMS, Kind: balance.Settle, Micros: -70_000, AfterMicros: 19_930_000, To: "4930", TalkMS: 7345, BilledSec: 60, CallID: "c1"}}, Next: 2}
		}
		reply(w, page)
	})
	mux.HandleFunc("POST "+api.PathRateImport, func(w http.ResponseWriter, r *http.Request) {
		if text, err := io.ReadAll(r.Body); err != nil || string(text) == "bad" {
			problem(w, 400, brain.EInvalid, "1 mistake, nothing was changed", brain.FieldError{Path: "prefix", Line: 7, Text: "is not 1 to 15 digits"})
			return
		}
		reply(w, api.RateImport{Plan: "retail", DryRun: r.URL.Query().Get("dry_run") == "true", Rates: 1500, Added: 1400, Changed: 1, Changes: []string{"+ 49", "~ 44"}})
	})
	mux.HandleFunc("GET "+api.PathRates, func(w http.ResponseWriter, r *http.Request) {
		reply(w, api.RateShown{Plan: "retail", Currency: "EUR", Number: r.URL.Query().Get("number"), Prefix: "49", PerMinuteMicros: 12_000, FirstSec: 60, NextSec: 1, EffectiveFrom: fakeNowMS / 1000})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv("SIPIO_SERVER", server.URL)
}

// Proves what the commands of money ask and print: amounts are decimal, a statement is read page after page, a bad file is told line by line.
func TestMoney_WhatTheCommandsPrint(t *testing.T) {
	fakeMoney(t)
	good, bad := filepath.Join(t.TempDir(), "good.csv"), filepath.Join(t.TempDir(), "bad.csv")
	for path, text := range map[string]string{good: "good", bad: "bad"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string][]string{
		"sipio balance show": {"12.3456", "0.60", "16.7456", "EUR", "retail"},
		"sipio balance topup 12.50 --account acc_1 --id 1790000000000-X": {"balance 24.8456, available 29.2456 (change 1790000000000-X, done before)"},
		"sipio balance topup 12.50 --account acc_1 --id x1":              {`--id "x1" is not that of a change`, "exit status 1"},
		"sipio balance topup 12,50":                                      {`"12,50" is not a decimal amount`, "exit status 1"},
		"sipio balance statement":                                        {"20.00", "key_1 cash", "-0.07", "19.93", "7.345s", "60s", "c1"},
		"sipio balance statement --since yesterday":                      {"nor a date such as 2026-11-01", "exit status 1"},
		"sipio balance statement --since 2d":                             {"20.00"},
		"sipio balance adjust -2.50 --account acc_1":                     {"balance -2.50"},
		"sipio balance adjust --account acc_1 -- -2.50":                  {"balance -2.50"},
		"sipio rate import -f " + good + " --plan retail":                {"+ 49\n~ 44\nand 1399 more\n1500 rates in plan retail: 1400 added, 1 changed, 0 ended, 0 unchanged"},
		"sipio rate import --dry-run --plan retail -f " + good:           {"1500 rates would be in plan retail"},
		"sipio rate import --plan retail -f " + bad:                      {"$ sipio rate import --plan retail -f " + bad + "\n! " + bad + ":7: prefix: is not 1 to 15 digits\n! sipio: 1 mistake, nothing was changed\nexit status 1\n"},
		"sipio rate import --plan retail -f " + good + ".gone":           {"read the rates", "exit status 1"},
		"sipio rate show +4930 --plan retail":                            {"4930", "0.012", "60/1 s", "2026-01-01"},
		"sipio rate show 4930":                                           {`required flag(s) "plan" not set`},
	} {
		out := transcript(line)
		for _, part := range want {
			if !strings.Contains(out, part) {
				t.Errorf("no %q in\n%s", part, out)
			}
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// decisionText makes a sentence of one line of the brain's log; ok is false for lines that are no decision.
func decisionText(line string) (text string, ok bool) {
	var d struct {
		Msg     string `json:"msg"`
		What    string `json:"what"`
		From    string `json:"from"`
		To      string `json:"to"`
		Outcome string `json:"outcome"`
		SIPCode int    `json:"sip_code"`
		Why     string `json:"why"`
		TookUS  int    `json:"took_us"`
	}
	if json.Unmarshal([]byte(line), &d) != nil || d.Msg != "decision" {
		return "", false
	}
	var b strings.Builder
	switch d.What {
	case "auth":
		fmt.Fprintf(&b, "/auth   may %s register? %s", d.To, d.Outcome)
	case "route":
		fmt.Fprintf(&b, "/route  %s calls %s: %s", d.From, d.To, d.Outcome)
	default:
		return "", false
	}
	if d.SIPCode != 0 {
		fmt.Fprintf(&b, " %d", d.SIPCode)
	}
	if d.Why != "" {
		fmt.Fprintf(&b, " (%s)", d.Why)
	}
	fmt.Fprintf(&b, ", %d µs", d.TookUS)
	return b.String(), true
}

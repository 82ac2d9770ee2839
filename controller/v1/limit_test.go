package v1

import (
	"fmt"
	"testing"

	"golang.org/x/time/rate"
)

// Proves that who fills the table of emails gets no more tries for one of them than anybody, and that most others have theirs still.
func TestLimiters_AFullTableGivesNobodyMoreTries(t *testing.T) {
	var g limiters
	take := func(key string) bool { return g.take(key, rate.Every(emailEvery), emailTries) == 0 }
	for i := range maxLimiters {
		take(fmt.Sprintf("%d@example.test", i))
	}
	tries := 0
	for take("admin@example.test") && tries < 1000 {
		tries++
	}
	if tries > emailTries+1 || tries == 0 { // one more may come in time
		t.Errorf("%d tries for one email", tries)
	}
	let := 0
	for i := range 100 {
		if take(fmt.Sprintf("%d@other.test", i)) {
			let++
		}
	}
	if let < 50 {
		t.Errorf("%d of 100 other emails were let through", let)
	}
}

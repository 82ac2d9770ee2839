package acd

import (
	"bytes"
	"encoding/base64"
	"testing"
)

// unmoved is a snapshot in form 3, as the desk wrote it 8 s after base: anna talks to talks, first, vip (priority 5), second and back,
// who has hung up, wait in queue q, lapsed was lost and gone has hung up.
const unmoved = "AwKAveOF42iAgIDFi8bRAYCS9AEBSQFxBVNhbGVzDGxvbmdlc3RfaWRsZcC4AoC6twMAAAEAgKYdAAAAwLgCAAAAAAAAAAABgJL0AQ4CAgIAAAACkE4AAAAAAAAAkE4BZARhbm5hAQEA" +
	"AQFxAgIGc3RhdGljAYCAgMWLxtEBCWF2YWlsYWJsZQAHaW5fY2FsbAAAAQAAgMDiheNoAgAAAACQjuOF42iQjuOF42gBgJL0AQICAAAAAAACkE4AAACQTgAAAAAFaARiYWNrBXRiYWNr" +
	"BWNiYWNrAm4xBys0OWJhY2sAAAAAAXEAAAACAAAAAAEB4J3jheNo4J3jheNoANDM44XjaOCd44XjaICAgICAgICAgAEAAAABBys0OWJhY2sEAADAqQfgvKyG42gAUgVmaXJzdAZ0Zmly" +
	"c3QGY2ZpcnN0Am4xCCs0OWZpcnN0AAAAAAFxAAAAAgAAAAAAAJCO44XjaJCO44XjaAAAkI7jheNogICAgICAgICAAQAAAABWBnNlY29uZAd0c2Vjb25kB2NzZWNvbmQCbjEJKzQ5c2Vj" +
	"b25kAAAAAAFxAAAAAgAAAAAAAOCd44XjaOCd44XjaAAA4J3jheNogICAgICAgICAAQAAAABbBXRhbGtzBnR0YWxrcwZjdGFsa3MCbjEIKzQ5dGFsa3MAAARhbm5hAAFxAAAACAAAAAAA" +
	"AIDA4oXjaIDA4oXjaAAAgMDiheNogICAgICAgICAAZCO44XjaAAAAEoDdmlwBHR2aXAEY3ZpcAJuMQYrNDl2aXAAAAAAAXEAAAoCAAAAAAAA4J3jheNo4J3jheNoAADgneOF42iAgICA" +
	"gICAgIABAAAAAAGAgIDFi8bRAQYEYW5uYQV0YWxrc8C4ApCO44XjaAACBmxhcHNlZAZmYWlsZWTgneOF42iAveOF42gABGdvbmUJYWJhbmRvbmVk4J3jheNogL3jheNoAAAA"

// Proves that a desk takes what one in the form before has written down: the same line, talk, figures and memory, and nobody is moved;
// that it goes on from there, writes the form of now, and refuses a damaged one of the form before as well.
func TestRestore_TheFormBefore(t *testing.T) {
	data, err := base64.StdEncoding.DecodeString(unmoved)
	if err != nil || data[0] != snapshotUnmoved {
		t.Fatal("not of that form: ", err)
	}
	d, err := Restore(data)
	if err != nil {
		t.Fatal(err)
	}
	now := base + 8000
	d.Resume(now)
	o := &office{t: t, d: d, now: now, offers: map[string]Offer{}}
	books(t, d)
	for _, e := range d.entries {
		if e.moved() {
			t.Errorf("%s is moved", e.id)
		}
	}
	q := d.Queues(now, 0, 0, true)[0]
	if f := q.Figures; o.order() != "vip first back second" || q.Waiting != 4 || q.Served != 1 || q.LongestMS != 3000 ||
		f.Offered != 7 || f.Answered != 1 || f.Abandoned != 1 || f.ShortAbandon != 1 || f.Sent != 0 || f.ASAMS == nil || *f.ASAMS != 5000 {
		t.Errorf("%s: %+v", o.order(), q)
	}
	if a := d.Agents(now, 0, 0)[0]; a.EntryID != "talks" || a.State != StateInCall || a.Figures.Answered != 1 || a.Figures.AHTMS == nil || *a.Figures.AHTMS != 3000 {
		t.Errorf("%+v", a)
	}
	if got := o.join("gone"); got != "exit abandoned" {
		t.Errorf("who has hung up comes again: %s", got)
	}
	if o.join("lapsed"); o.order() != "vip first back lapsed second" {
		t.Errorf("who was lost comes back: %s", o.order())
	}
	if o.moves("second", 1) != "1" || o.order() != "second vip first back lapsed" {
		t.Errorf("moved: %s", o.order())
	}
	if again, err := Restore(d.AppendSnapshot(nil)); err != nil || !bytes.Equal(again.AppendSnapshot(nil), d.AppendSnapshot(nil)) {
		t.Errorf("written in the form of now: %v", err)
	}
	for i := range data {
		if _, err := Restore(data[:i]); err == nil {
			t.Errorf("cut at byte %d: taken", i)
		}
	}
	for _, form := range []byte{snapshotUnmoved - 1, snapshotVersion, snapshotVersion + 1} {
		if _, err := Restore(append([]byte{form}, data[1:]...)); err == nil {
			t.Errorf("taken as form %d", form)
		}
	}
}

package guard

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// Who has offended and was not banned is listed, page by page, with what he did last, how often, and the beginning of its evidence; also after a
// restart. A snapshot of a guard that kept none of it is read.
func TestOffenders_AreListedWithTheirEvidence(t *testing.T) {
	m := New()
	long := strings.Repeat("é", 120)
	for i := range 3 {
		offends(t, m, start+int64(i), Offence{Offence: api.Offence{Addr: fmt.Sprintf("192.0.2.%d", 3-i), Tier: api.TierScore, Kind: api.OffenceSpray, Count: 20 + i, Known: true, Evidence: "REGISTER x" + long}})
	}
	offends(t, m, start, by(api.TierUA, "192.0.2.9"))
	check := func(m *Machine) {
		t.Helper()
		var got []api.BanAbout
		for after := ""; ; {
			list, err := m.page(start+3, &Question{Offenders: true, After: after, Limit: 2})
			if err != nil || len(list.Bans) != 0 || len(list.Offenders) > 2 {
				t.Fatal(list, err)
			}
			got = append(got, list.Offenders...)
			if after = list.Next; after == "" {
				break
			}
		}
		if len(got) != 4 || got[0].Addr != "192.0.2.1" || got[1].Addr != "192.0.2.2" || got[3].Addr != "192.0.2.9" {
			t.Fatalf("%+v", got)
		}
		a := got[0]
		if a.LastKind != api.OffenceSpray || a.LastCount != 22 || a.LastOffenceMS != start+2 || a.Count != 0 || !strings.HasPrefix(a.LastEvidence, "REGISTER xé") ||
			len(a.LastEvidence) > api.MaxKeptEvidence || !texts(a.LastEvidence) {
			t.Errorf("%+v", a)
		}
	}
	check(m)
	again, err := Restore(m.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	check(again)
	// Without the last fields, as an older brain writes it.
	old := appendBook(nil, &m.offenders, func(v *offender, b []byte) []byte {
		whole := v.append(nil)
		last := pack.AppendText(pack.AppendText(pack.AppendText(pack.AppendInt(nil, int64(v.lastCount)), v.evidence), v.tier), v.node)
		return append(b, whole[:len(whole)-len(last)]...)
	})
	whole := m.AppendSnapshot(nil)
	now := appendBook(nil, &m.offenders, (*offender).append)
	older, err := Restore(bytes.Replace(whole, now, old, 1))
	if err != nil {
		t.Fatal(err)
	}
	list, err := older.page(start+3, &Question{Offenders: true, Limit: 10})
	if err != nil || len(list.Offenders) != 4 || list.Offenders[0].LastKind != api.OffenceSpray || list.Offenders[0].LastCount != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

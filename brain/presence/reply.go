package presence

import (
	"fmt"

	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/pack"
)

func appendVerdict(b []byte, v *cac.Verdict) []byte {
	b = pack.AppendBool(pack.AppendBool(b, v.Admitted), v.Repeated)
	b = pack.AppendText(pack.AppendUint(b, uint64(v.Kind)), v.ID)
	b = pack.AppendInt(pack.AppendInt(pack.AppendInt(b, int64(v.Limit)), int64(v.Used)), v.RetryMS)
	if b = appendWindows(b, v.Soft); len(v.Held) > 0 {
		b = appendTakes(b, v.Held)
	}
	return b
}

// ReadVerdict reads the reply to an op of AppendAdmit or AppendSwap.
func ReadVerdict(reply []byte) (cac.Verdict, error) {
	r := pack.NewReader(reply)
	v := cac.Verdict{Admitted: r.Bool(), Repeated: r.Bool(), Kind: readKind(r), ID: r.Text(), Limit: int(r.Int()), Used: int(r.Int()), RetryMS: r.Int()}
	if v.Soft = readWindows(r, nil); r.Rest() > 0 {
		v.Held = readTakes(r, nil)
	}
	if err := r.End(); err != nil {
		return cac.Verdict{}, fmt.Errorf("read a verdict: %w", err)
	}
	return v, nil
}

// ReadReleased reads the reply to an op of AppendRelease: how many of its tokens had a place.
func ReadReleased(reply []byte) (int, error) {
	r := pack.NewReader(reply)
	n := r.Uint()
	if err := r.End(); err != nil {
		return 0, fmt.Errorf("read how many were released: %w", err)
	}
	return int(n), nil
}

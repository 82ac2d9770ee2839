package acd

import "github.com/sipio/sipio/brain/pack"

// Bounds of a callback.
const (
	maxNumber = 64 // bytes
	maxTries  = 10
)

// AppendCallback appends the op of a caller who hangs up and keeps his place; its reply is read by ReadVerdict: granted
// from then on, also when it is repeated; WhyUnknown when he has no place (any more), WhyLost when he is with an agent.
func AppendCallback(b []byte, c *Callback) []byte {
	b = pack.AppendText(pack.AppendText(pack.AppendText(append(b, kindCallback), c.EntryID), c.Token), c.Number)
	for _, v := range [...]int64{int64(c.Tries), c.DelayMS, c.RetryMS, c.WindowMS} {
		b = pack.AppendInt(b, v)
	}
	return b
}

func readCallback(r *pack.Reader) *Callback {
	return &Callback{EntryID: r.Text(), Token: r.Text(), Number: r.Text(), Tries: readSmall(r), DelayMS: readMS(r), RetryMS: readMS(r), WindowMS: readMS(r)}
}

// bounded tells whether a callback names a number and how often it is called, both within their bounds.
func (c *Callback) bounded() bool {
	return texts(c.EntryID, c.Token, c.Number) && len(c.Number) >= 1 && len(c.Number) <= maxNumber && c.Tries >= 1 && c.Tries <= maxTries
}

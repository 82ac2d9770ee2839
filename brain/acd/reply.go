package acd

import (
	"errors"
	"fmt"

	"github.com/sipio/sipio/brain/pack"
)

// errReply: bytes that are not the reply asked for.
var errReply = errors.New("not a reply of a desk")

// appendJoined writes how an entry stands; stale alone when the desk's setup is too old.
func appendJoined(b []byte, j *Joined, stale bool) []byte {
	if b = pack.AppendBool(b, stale); stale {
		return b
	}
	b = pack.AppendInt(pack.AppendInt(pack.AppendText(b, j.Outcome), int64(j.Position)), j.EWTMS)
	b = pack.AppendUint(b, uint64(len(j.Offers)))
	for i := range j.Offers {
		b = appendOffer(b, &j.Offers[i])
	}
	return b
}

func appendOffer(b []byte, o *Offer) []byte {
	b = pack.AppendInt(pack.AppendText(b, o.ReservationID), o.Fence)
	return pack.AppendInt(pack.AppendInt(pack.AppendText(b, o.UserID), o.RingMS), o.UntilMS)
}

// ReadJoined reads the reply to a join. With stale nothing was done: the desk's setup is older than the version that
// was named; send it and ask again.
func ReadJoined(reply []byte) (j Joined, stale bool, err error) {
	r := pack.NewReader(reply)
	if stale = r.Bool(); !stale {
		j = Joined{Outcome: r.Text(), Position: int(r.Int()), EWTMS: r.Int()}
		for range r.Count(maxRing) {
			j.Offers = append(j.Offers, Offer{ReservationID: r.Text(), Fence: r.Int(), UserID: r.Text(), RingMS: r.Int(), UntilMS: r.Int()})
		}
	}
	if err := r.End(); err != nil {
		return Joined{}, false, fmt.Errorf("read how an entry stands: %w: %w", errReply, err)
	}
	return j, stale, nil
}

func appendVerdict(b []byte, v Verdict) []byte {
	b = pack.AppendText(pack.AppendBool(b, v.Granted), v.Why)
	if v.Token == "" { // as those read it who know of no sends
		return b
	}
	return pack.AppendText(b, v.Token)
}

// ReadVerdict reads the reply to a claim, confirm, miss, callback or send.
func ReadVerdict(reply []byte) (Verdict, error) {
	r := pack.NewReader(reply)
	v := Verdict{Granted: r.Bool(), Why: r.Text()}
	if r.Rest() > 0 {
		v.Token = r.Text()
	}
	if err := r.End(); err != nil {
		return Verdict{}, fmt.Errorf("read a verdict: %w: %w", errReply, err)
	}
	return v, nil
}

func appendDone(b []byte, why string, stale bool) []byte {
	return pack.AppendText(pack.AppendBool(b, stale), why)
}

// ReadAgent reads the reply to an AgentOp: why it was refused, "" when it was done. With stale nothing was done, as
// in ReadJoined.
func ReadAgent(reply []byte) (why string, stale bool, err error) {
	r := pack.NewReader(reply)
	stale, why = r.Bool(), r.Text()
	if err := r.End(); err != nil {
		return "", false, fmt.Errorf("read what became of an agent's wish: %w: %w", errReply, err)
	}
	return why, stale, nil
}

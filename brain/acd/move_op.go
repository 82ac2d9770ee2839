package acd

import (
	"fmt"

	"github.com/sipio/sipio/brain/pack"
)

// AppendMove appends the op that puts somebody who waits at another place of his line, 1 = next; its reply is read by ReadMoved.
func AppendMove(b []byte, entryID string, place int) []byte {
	return pack.AppendInt(pack.AppendText(append(b, kindMove), entryID), int64(place))
}

// AppendSend appends the op that tells somebody who waits to leave by LeftSent; its reply is read by ReadVerdict: granted from
// then on, also when it is repeated; WhyUnknown, WhyLost, WhyLeaving or WhyHungUp say why not.
func AppendSend(b []byte, entryID string) []byte { return appendSend(b, entryID, false) }

// AppendSent appends the op that changes nothing and tells whether somebody has left by LeftSent, and by which call; its reply is
// read by ReadVerdict.
func AppendSent(b []byte, entryID string) []byte { return appendSend(b, entryID, true) }

func appendSend(b []byte, entryID string, look bool) []byte {
	return pack.AppendBool(pack.AppendText(append(b, kindSend), entryID), look)
}

func appendMoved(b []byte, place int, why string) []byte {
	return pack.AppendText(pack.AppendInt(b, int64(place)), why)
}

// ReadMoved reads the reply to a move: the place that he has now, or why he keeps his: WhyUnknown, WhyLost or WhyLeaving.
func ReadMoved(reply []byte) (place int, why string, err error) {
	r := pack.NewReader(reply)
	place, why = int(r.Int()), r.Text()
	if err := r.End(); err != nil {
		return 0, "", fmt.Errorf("read what became of a move: %w: %w", errReply, err)
	}
	return place, why, nil
}

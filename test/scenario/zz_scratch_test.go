package scenario

import (
	"context"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

func TestScratch(t *testing.T) {
	o := newOffice(t)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	ctx := within(t, 12*time.Second)
	o.do(func(ctx context.Context, in *phone.Incoming) (*phone.Call, error) {
		if _, err := in.Progress(ctx); err != nil {
			return nil, err
		}
		time.Sleep(300 * time.Millisecond)
		return nil, in.Reject(500, "No")
	}, accept, accept)
	ours, theirs := o.answered(t, ctx, anna, "0305551234", o.beta)
	t.Logf("%v\n%s", ours.Provisional(), ours.ReceivedSDP())
	talk(t, ctx, ours, theirs)
	hangUp(t, ctx, o.Edge, theirs, ours)
}

package queue

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// dispatch is an agent to be rung, as a node needs it. Sounds that cannot be found are left out: the call goes on.
func (q *Queues) dispatch(ctx context.Context, acct *brain.AccountConfig, o *acd.Order) api.Dispatch {
	now := q.Now()
	lease := max(0, o.Offer.UntilMS-now.UnixMilli())
	d := api.Dispatch{ReservationID: o.Offer.ReservationID, Fence: o.Offer.Fence, UserID: o.Offer.UserID,
		RingMS: min(o.Offer.RingMS, lease), LeaseMS: lease,
		CallerNumber: o.CallerNumber, CallerName: strings.TrimSpace(o.Label + " " + o.CallerName), Release: true}
	c := acct.Queues[o.QueueID]
	if c == nil {
		return d // deleted while he waits
	}
	d.Confirm, d.Release = c.AgentConfirm, !c.Record
	if c.Record {
		d.RecordKey = recordKey(acct, o, now)
	}
	if c.WhisperMediaID != "" {
		var err error
		if d.Whisper, err = q.sounds.Resolve(ctx, acct, brain.Sound{MediaID: c.WhisperMediaID, Language: c.Language}); err != nil {
			q.log.Warn("an agent hears no whisper", "account", acct.Account.ID, "queue", c.ID, "media", c.WhisperMediaID, "err", err)
		}
	}
	return d
}

// recordKey names the recording of a talk: by the account's day, the call and the reservation.
func recordKey(acct *brain.AccountConfig, o *acd.Order, now time.Time) string {
	return acct.Account.ID + "/rec/" + now.In(acct.Zone("")).Format(time.DateOnly) + "/" + session.KeyPart(o.Token) + "-" + session.KeyPart(o.Offer.ReservationID) + ".wav"
}

// place is the announcement of a caller's place, nil when a part of it cannot be found: half of it means nothing. There
// are no prompts for the expected wait yet.
func (q *Queues) place(ctx context.Context, acct *brain.AccountConfig, o *acd.Order) []api.MediaRef {
	language := ""
	if c := acct.Queues[o.QueueID]; c != nil {
		language = c.Language
	}
	number := strconv.Itoa(o.Position)
	files, err := q.sounds.Resolve(ctx, acct, brain.Sound{Prompt: "position-you-are-number", Language: language})
	if err == nil {
		var spoken []api.MediaRef
		if spoken, err = q.sounds.Resolve(ctx, acct, brain.Sound{Text: number, Language: language}); err != nil {
			spoken, err = q.digits(ctx, acct, number, language)
		}
		files = append(files, spoken...)
	}
	if err != nil {
		q.log.Warn("a caller does not hear his place", "account", acct.Account.ID, "queue", o.QueueID, "err", err)
		return nil
	}
	return files
}

// digits says a number figure by figure, for where no engine speaks.
func (q *Queues) digits(ctx context.Context, acct *brain.AccountConfig, number, language string) (files []api.MediaRef, err error) {
	for _, figure := range number {
		file, err := q.sounds.Resolve(ctx, acct, brain.Sound{Prompt: "digit-" + string(figure), Language: language})
		if err != nil {
			return nil, err
		}
		files = append(files, file...)
	}
	return files, nil
}

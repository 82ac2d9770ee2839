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

// longestSaid bounds the expected wait that is said, in minutes: a longer one says no more than the place does.
const longestSaid = 120

// place is the announcement of a caller's place and, where the order has it, of his expected wait in whole minutes. A part of
// which something cannot be found is left out: half of it means nothing.
func (q *Queues) place(ctx context.Context, acct *brain.AccountConfig, o *acd.Order) []api.MediaRef {
	files := q.say(ctx, acct, o.QueueID, "position-you-are-number", int64(o.Position))
	if minutes := max(1, (o.EWTMS+59_999)/60_000); o.EWTMS >= 0 && minutes <= longestSaid && files != nil {
		files = append(files, q.say(ctx, acct, o.QueueID, "position-expected-minutes", minutes)...)
	}
	return files
}

// say is a prompt and a number behind it, nil when one of them cannot be found.
func (q *Queues) say(ctx context.Context, acct *brain.AccountConfig, queueID, prompt string, n int64) []api.MediaRef {
	language, number := "", strconv.FormatInt(n, 10)
	if c := acct.Queues[queueID]; c != nil {
		language = c.Language
	}
	files, err := q.sounds.Resolve(ctx, acct, brain.Sound{Prompt: prompt, Language: language})
	if err == nil {
		var spoken []api.MediaRef
		if spoken, err = q.sounds.Resolve(ctx, acct, brain.Sound{Text: number, Language: language}); err != nil {
			spoken, err = q.digits(ctx, acct, number, language)
		}
		files = append(files, spoken...)
	}
	if err != nil {
		q.log.Warn("a caller does not hear a part of an announcement", "account", acct.Account.ID, "queue", queueID, "prompt", prompt, "err", err)
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

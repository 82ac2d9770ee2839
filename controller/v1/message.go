package v1

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

// messages is the messages of mailboxes. The platform makes them; they are seen, marked as read, and deleted.
type messages struct {
	*collection[brain.VoicemailMessage, *brain.VoicemailMessage]
}

type messagesRequest struct {
	AccountID   string `query:"account_id" doc:"only this account's; for keys of the platform"`
	After       string `query:"after" doc:"the id after which to go on: next of the page before"`
	Limit       int    `query:"limit" default:"100" minimum:"1" maximum:"500"`
	VoicemailID string `query:"voicemail_id" doc:"only this mailbox's"`
}

func registerMessages(a *API, who rights) {
	c := messages{collectionOf[brain.VoicemailMessage](a, brain.KindVoicemailMessage, who)}
	huma.Register(a.huma, c.operation(http.MethodGet, collectionPath(c.kind), "List", nil), c.list)
	c.registerOne()
}

// list answers a page of the messages of one mailbox, or of all.
func (c messages) list(ctx context.Context, in *messagesRequest) (*page[*brain.VoicemailMessage], error) {
	if in.VoicemailID == "" {
		return c.collection.list(ctx, &listRequest{in.AccountID, in.After, in.Limit})
	}
	_, accountID, err := c.rights.enter(ctx, in.AccountID, false)
	if err != nil {
		return nil, refuse(c.doing("list"), err)
	}
	found := make([]brain.Resource, 0, in.Limit)
	for after := in.After; ; {
		chunk, err := c.store.List(ctx, c.kind, accountID, after, maxPage)
		if err != nil {
			return nil, refuse(c.doing("list"), err)
		}
		for _, r := range chunk {
			if r.(*brain.VoicemailMessage).VoicemailID != in.VoicemailID {
				continue
			}
			if found = append(found, r); len(found) == in.Limit {
				return pageOf[*brain.VoicemailMessage](found, in.Limit), nil
			}
		}
		if len(chunk) < maxPage {
			return pageOf[*brain.VoicemailMessage](found, in.Limit), nil
		}
		after = chunk[len(chunk)-1].ResourceID()
	}
}

// maxPage is the largest page of a list, as listRequest says.
const maxPage = 500

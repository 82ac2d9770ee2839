package v1

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

// Audits is the audit log.
type Audits interface {
	// Audit writes an entry and returns when it is stored for good. brain.EUnavailable: it may not be.
	Audit(ctx context.Context, e brain.AuditEntry) error
	// AuditPage lists entries, newest first, that are older than the one with the id after.
	AuditPage(ctx context.Context, q brain.AuditQuery, after string, limit int) ([]brain.AuditRow, error)
}

type auditRequest struct {
	AccountID string `query:"account_id" doc:"only this account's matters; for keys of the platform"`
	Actor     string `query:"actor" maxLength:"128" doc:"whole: the id of a key or a console user"`
	Action    string `query:"action" maxLength:"128" doc:"whole, or what stands before a dot in it: ban for ban.add and ban.lift"`
	Object    string `query:"object" maxLength:"256" doc:"a part of it"`
	SinceMS   int64  `query:"since_ms" minimum:"0" doc:"not older than this, epoch milliseconds"`
	After     string `query:"after" maxLength:"64" doc:"the id after which to go on: next of the page before"`
	Limit     int    `query:"limit" default:"100" minimum:"1" maximum:"500"`
}

type auditReply struct {
	Body struct {
		Items []brain.AuditRow `json:"items" nullable:"false" doc:"newest first"`
		Next  string           `json:"next,omitempty" doc:"give it as after to get older ones; absent on the last page"`
	}
}

func (a *API) registerAudit() {
	huma.Register(a.huma, huma.Operation{
		Method: http.MethodGet, Path: Prefix + "/audit", OperationID: "audit", Summary: "Read the audit log", Tags: []string{"audit"},
		Description: "Who did what: changes of the configuration, logins, bans, balances. Needs the scope audit:read for the matters of the own account; a key of the platform with the scope platform reads all.",
	}, a.audit)
}

func (a *API) audit(ctx context.Context, in *auditRequest) (*auditReply, error) {
	c := callerOf(ctx)
	var err error
	if !c.isPlatform() {
		err = c.need(brain.ScopeAuditRead)
	}
	accountID := ""
	if err == nil {
		accountID, err = c.account(in.AccountID)
	}
	if err != nil {
		return nil, refuse("read the audit log", err)
	}
	q := brain.AuditQuery{AccountID: accountID, Actor: in.Actor, Action: in.Action, Object: in.Object, SinceMS: in.SinceMS}
	found, err := a.store.AuditPage(ctx, q, in.After, in.Limit)
	if err != nil {
		return nil, refuse("read the audit log", err)
	}
	out := &auditReply{}
	out.Body.Items = append([]brain.AuditRow{}, found...)
	a.nameActors(ctx, c.key.AccountID, out.Body.Items)
	if len(found) == in.Limit { // a last page that happens to be full is followed by an empty one
		out.Body.Next = found[len(found)-1].ID
	}
	return out, nil
}

// nameActors writes beside the ids of keys and console users what they are called, of those that the reader may see: an account's
// its own. One that is gone has no name.
func (a *API) nameActors(ctx context.Context, accountID string, rows []brain.AuditRow) {
	names := map[string]string{}
	for i := range rows {
		id := rows[i].Actor
		name, asked := names[id]
		if !asked {
			for _, kind := range [...]brain.Kind{brain.KindAPIKey, brain.KindConsoleUser} {
				if !strings.HasPrefix(id, kind.IDPrefix()+"_") {
					continue
				}
				if r, err := a.store.Get(ctx, kind, accountID, id); err == nil {
					name = brain.NameOf(r)
				}
			}
			names[id] = name
		}
		rows[i].ActorName = name
	}
}

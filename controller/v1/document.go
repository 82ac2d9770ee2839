package v1

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

type applyRequest struct {
	AccountID string `query:"account_id" doc:"only this account may be named in the document; for keys of the platform"`
	DryRun    bool   `query:"dry_run" doc:"stop after the plan; needs config:read only, but config:write when the document gives a password, a PIN or the value of a secret"`
	Prune     bool   `query:"prune" doc:"delete what the document's accounts have and the document does not name"`
	RawBody   []byte `contentType:"application/yaml"`
}

type rollbackRequest struct {
	Body struct {
		Version int64 `json:"version" minimum:"0" doc:"revision to go back to"`
		DryRun  bool  `json:"dry_run,omitempty" doc:"stop after the plan"`
	}
}

type planReply struct {
	Version int64 `header:"X-Sipio-Config-Version" doc:"configuration version afterwards"`
	Body    brain.Plan
}

type exportRequest struct {
	AccountID string `query:"account_id" doc:"only this account; for keys of the platform"`
}

type exportReply struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type revisionsRequest struct {
	Limit int `query:"limit" default:"50" minimum:"1" maximum:"500"`
}

type revisionsReply struct {
	Body struct {
		Items []brain.Revision `json:"items" nullable:"false" doc:"newest first"`
	}
}

func (a *API) registerDocuments() {
	op := func(method, path, id, summary string) huma.Operation {
		return huma.Operation{Method: method, Path: Prefix + path, OperationID: id, Summary: summary, Tags: []string{"document"}}
	}
	apply := op(http.MethodPost, "/apply", "apply", "Apply a YAML document, or plan it")
	apply.MaxBodyBytes, apply.BodyReadTimeout = MaxDocument+1, time.Minute
	huma.Register(a.huma, apply, a.apply)
	export := op(http.MethodGet, "/export", "export", "Write the configuration as a YAML document")
	export.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/yaml": {}}}}
	huma.Register(a.huma, export, a.export)
	huma.Register(a.huma, op(http.MethodGet, "/revisions", "revisions", "List the revisions of the configuration"), a.revisions)
	huma.Register(a.huma, op(http.MethodPost, "/rollback", "rollback", "Go back to a revision, or plan it"), a.rollback)
}

// planRights are what a change of many resources needs; a dry run changes nothing. A plan tells whether a secret is the one that is kept,
// so who may only read gives none (see brain.ApplyOptions.Blind).
func planRights(dryRun, platform bool) rights {
	if dryRun {
		return rights{write: brain.ScopeConfigRead, platformWrites: platform}
	}
	return rights{write: brain.ScopeConfigWrite, platformWrites: platform}
}

func (a *API) apply(ctx context.Context, in *applyRequest) (*planReply, error) {
	who, accountID, err := planRights(in.DryRun, false).enter(ctx, in.AccountID, true)
	if err != nil {
		return nil, refuse("apply", err)
	}
	opt := brain.ApplyOptions{AccountID: accountID, DryRun: in.DryRun, Prune: in.Prune, Blind: !who.has(brain.ScopeConfigWrite), Users: who.users()}
	a.write.Lock()
	defer a.write.Unlock()
	if !who.isPlatform() {
		if err := a.onlyOwn(ctx, who, opt, in.RawBody); err != nil {
			return nil, refuse("apply", err)
		}
	}
	plan, version, err := a.store.Apply(ctx, who.actor(), in.RawBody, opt)
	if err != nil {
		return nil, refuse("apply", err)
	}
	return planned(plan, version), nil
}

// onlyOwn refuses a document by which a tenant would give itself numbers or the calls of an address.
func (a *API) onlyOwn(ctx context.Context, who caller, opt brain.ApplyOptions, doc []byte) error {
	opt.DryRun = true
	plan, _, err := a.store.Apply(ctx, who.actor(), doc, opt)
	if err != nil {
		return err
	}
	for _, item := range plan.Items {
		if item.Kind == brain.KindDID || item.Kind == brain.KindSIPTrunk {
			return brain.Errorf(brain.EForbidden, "%s %s: numbers and trunks are given by the platform, with a key of its own", item.Kind, item.Name)
		}
	}
	return nil
}

func (a *API) rollback(ctx context.Context, in *rollbackRequest) (*planReply, error) {
	who, _, err := planRights(in.Body.DryRun, true).enter(ctx, "", true)
	if err != nil {
		return nil, refuse("roll back", err)
	}
	a.write.Lock()
	defer a.write.Unlock()
	plan, version, err := a.store.Rollback(ctx, who.actor(), in.Body.Version, in.Body.DryRun)
	if err != nil {
		return nil, refuse("roll back", err)
	}
	return planned(plan, version), nil
}

// planned answers a plan; an empty one is an empty list, not null.
func planned(plan brain.Plan, version int64) *planReply {
	if plan.Items == nil {
		plan.Items = []brain.PlanItem{}
	}
	return &planReply{Version: version, Body: plan}
}

func (a *API) export(ctx context.Context, in *exportRequest) (*exportReply, error) {
	_, accountID, err := rights{read: brain.ScopeConfigRead}.enter(ctx, in.AccountID, false)
	if err != nil {
		return nil, refuse("export", err)
	}
	doc, err := a.store.Export(ctx, accountID)
	if err != nil {
		return nil, refuse("export", err)
	}
	return &exportReply{"application/yaml", doc}, nil
}

// revisions are of all accounts together, so they are the platform's to see.
func (a *API) revisions(ctx context.Context, in *revisionsRequest) (*revisionsReply, error) {
	_, _, err := rights{read: brain.ScopeConfigRead, platformReads: true}.enter(ctx, "", false)
	if err != nil {
		return nil, refuse("list revisions", err)
	}
	found, err := a.store.Revisions(ctx, in.Limit)
	if err != nil {
		return nil, refuse("list revisions", err)
	}
	out := &revisionsReply{}
	out.Body.Items = append([]brain.Revision{}, found...)
	return out, nil
}

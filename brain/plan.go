package brain

import (
	"fmt"
	"strings"
)

// ApplyOptions says how a document of configuration is applied.
type ApplyOptions struct {
	AccountID string     // only this account's resources may be named; "" = the platform's own right, any account
	DryRun    bool       // stop after the plan: nothing is changed
	Prune     bool       // delete what the accounts in the document have and the document does not name
	Users     *UserGrant // who gives it, which bounds the console users in it; nil = not bound
	Blind     bool       // a document that gives a secret is EForbidden: the plan would tell whether it is the one that is kept
}

// FieldChange is one field before and after, written as the operator would type it.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// PlanItem is what happens to one resource. Fields is set for OpUpdate only.
type PlanItem struct {
	Op      ChangeOp      `json:"op"`
	Kind    Kind          `json:"kind"`
	Account string        `json:"account,omitempty" doc:"name of the account; empty for what belongs to the platform"`
	Name    string        `json:"name"`
	Fields  []FieldChange `json:"fields,omitempty"`
}

// Plan is what applying a document, or going back to a revision, changes: in the order in which it is done.
type Plan struct {
	Items []PlanItem `json:"items"`
}

// String writes the plan for people: a line a resource, a line a changed field, then a line of counts.
func (p Plan) String() string {
	if len(p.Items) == 0 {
		return "no changes\n"
	}
	var b strings.Builder
	count := map[ChangeOp]int{}
	sign := map[ChangeOp]string{OpCreate: "+", OpUpdate: "~", OpDelete: "-"}
	for _, item := range p.Items {
		count[item.Op]++
		fmt.Fprintf(&b, "%s %s %s\n", sign[item.Op], item.Kind, item.path())
		for _, f := range item.Fields {
			fmt.Fprintf(&b, "    %s: %s → %s\n", f.Field, orNothing(f.Old), orNothing(f.New))
		}
	}
	fmt.Fprintf(&b, "%d to create, %d to update, %d to delete\n", count[OpCreate], count[OpUpdate], count[OpDelete])
	return b.String()
}

// path is account/name, or the name alone for an account itself and for what belongs to the platform.
func (i PlanItem) path() string {
	if i.Account == "" || i.Kind == KindAccount {
		return i.Name
	}
	return i.Account + "/" + i.Name
}

func orNothing(value string) string {
	if value == "" {
		return `""`
	}
	return value
}

// Revision is one committed change set of the configuration.
type Revision struct {
	Version int64  `json:"version"`
	TimeMS  int64  `json:"time_ms" doc:"epoch milliseconds of the commit"`
	Actor   string `json:"actor" doc:"who made it: the API key's id, or the name of the command"`
	Summary string `json:"summary"`
}

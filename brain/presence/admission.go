package presence

import (
	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/cac"
)

// Admission is one call to admit, with what is needed to answer when nobody owns the account's live state.
type Admission struct {
	AccountID    string
	Call         Admit
	NodeCapacity int                   // calls of the node over all accounts; 0 = no limit
	Policy       brain.AdmissionPolicy // while the account's shard has no owner
	Nodes        int                   // how many share the limits then; 0 counts as 1
}

// Swap is one change of a call's places, with what is needed to answer when nobody owns the account's live state.
type Swap struct {
	cac.Swap
	Node   string                // that asks
	Policy brain.AdmissionPolicy // as in Admission, as the next
	Nodes  int
}

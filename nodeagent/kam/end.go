package kam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// EndDialog ends every dialog of a Call-ID: Kamailio sends a BYE to both ends. None is no error. A call that was not
// answered has no dialog that could be ended; its transaction ends it by its timers.
func (c *Client) EndDialog(ctx context.Context, callID string) error {
	if callID == "" {
		return errors.New("dlg.dlg_list: no Call-ID")
	}
	var found json.RawMessage
	if err := c.Call(ctx, "dlg.dlg_list", []any{callID}, &found); err != nil {
		return err
	}
	dialogs, err := readDialogs(found)
	if err != nil {
		return fmt.Errorf("dlg.dlg_list: %w", err)
	}
	var failed error
	for _, d := range dialogs {
		if d.State != stateConfirmed && d.State != stateConfirmedNA {
			continue
		}
		err := c.Call(ctx, "dlg.end_dlg", []any{d.Entry, d.ID, endReason}, nil)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("dlg.end_dlg of %s: %w", callID, err))
		}
	}
	return failed
}

// endReason is the header of such a BYE that says why (RFC 3326): 41 is a temporary failure.
const endReason = "Reason: Q.850;cause=41;text=\"NORMAL_TEMPORARY_FAILURE\"\r\n"

// States of a dialog that was answered (Kamailio's dlg_hash.h).
const (
	stateConfirmedNA = 3 // not acknowledged yet
	stateConfirmed   = 4
)

// dialogRef is what is read of one dialog of dlg.dlg_list.
type dialogRef struct {
	Entry int64 `json:"h_entry"`
	ID    int64 `json:"h_id"`
	State int   `json:"state"`
}

// readDialogs reads the answer of dlg.dlg_list: an object, a list of objects, or nothing.
func readDialogs(raw json.RawMessage) ([]dialogRef, error) {
	if isEmpty(raw) {
		return nil, nil
	}
	var list []dialogRef
	if bytes.HasPrefix(raw, []byte("[")) {
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		return list, nil
	}
	var one dialogRef
	if err := json.Unmarshal(raw, &one); err != nil {
		return nil, err
	}
	if one.State == 0 {
		return nil, errors.New("no dialog in " + strconv.Quote(string(raw[:min(len(raw), 80)])))
	}
	return []dialogRef{one}, nil
}

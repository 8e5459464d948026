package graft

import (
	"errors"
	"time"

	"github.com/graft-ml/graft/internal/tensorboard"
)

// events writes epochs to a TensorBoard event file, which is made for the first one.
type events struct {
	dir  string // "" for no file
	file *tensorboard.Writer
}

// add writes an epoch that ended at a time.
func (l *events) add(e Epoch, at time.Time) (err error) {
	if l.dir == "" {
		return nil
	}
	if l.file == nil {
		if l.file, err = tensorboard.Create(l.dir); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		tag   string
		value float64
	}{{"loss/train", e.TrainLoss}, {"loss/test", e.TestLoss}, {"accuracy/train", e.TrainAcc}, {"accuracy/test", e.TestAcc}, {"lr", e.LR}} {
		err = errors.Join(err, l.file.Scalar(at, s.tag, int64(e.Epoch), s.value))
	}
	return err
}

func (l *events) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// writeEvents writes the history as one event file, whether or not training was stopped in between.
// The times between its points are those that the epochs took.
func (r *Run) writeEvents(dir string) error {
	at := time.Now()
	for _, e := range r.History {
		at = at.Add(-seconds(e.Seconds))
	}
	l := events{dir: dir}
	var err error
	for _, e := range r.History {
		at = at.Add(seconds(e.Seconds))
		err = errors.Join(err, l.add(e, at))
	}
	return errors.Join(err, l.close())
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

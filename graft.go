// Package graft joins a new head to a pretrained network: transfer learning on images, in Go alone.
//
// Give it a folder of photos sorted into classes, and it hands back a trained classifier that
// predicts anywhere Go runs:
//
//	model, err := graft.Load(ctx, "efficientnet_b0", nil) // pretrained on ImageNet
//	data, err := graft.OpenDataset("photos", graft.DatasetOptions{})
//	err = model.ReplaceHead(data.Classes, 0.2)
//	err = model.Freeze("features")
//	run, err := model.Train(ctx, data, graft.TrainOptions{})
//	err = run.Save("runs/photos")
//
// and later, in a service say:
//
//	model, err := graft.Open("runs/photos")
//	prediction, err := model.Predict(photo)
//
// # Networks and weights
//
// A [Model] is a network together with what belongs to its weights: the exact transforms of its
// photos and the names of its classes. They travel in one file, so a photo can't be prepared in
// another way than in training. [Weights] lists what [Load] knows, in torchvision's and timm's terms.
// Parameters have PyTorch's names: checkpoints of torchvision and timm load, and what
// [Model.Save] writes loads back into PyTorch.
//
// [PretrainedWeights] lists them with their accuracy and size, [Model.Measure] finds out how fast a
// network is on this machine, and [Compare] trains several on the same photos.
//
// # Training
//
// Parameters are frozen by the path of their module ([Model.Freeze]). What comes before the first
// one that trains never changes, so it is computed once for each photo, in a form compiled for
// inference; epochs then train what comes after. Frozen batch norms stay in eval mode.
//
// # What results depend on
//
// The same photos, seed and kind of processor give the same bits, whatever the number of threads.
// Kinds of processors differ in the last digits, since they have other instructions; the environment
// variable GRAFT_CPU (avx512, avx2 or portable) chooses among those of a machine.
package graft

import (
	"github.com/graft-ml/graft/internal/hub"
)

// Progress is told how long work goes: downloads in bytes, photos in number. Its methods aren't
// called by two goroutines at once.
type Progress interface {
	// Start begins work called name: done of total units are behind, total is -1 if unknown.
	Start(name string, done, total int64)
	// Add says that n more units are done.
	Add(n int)
	// Finish ends the work, complete or not.
	Finish()
	// Note brings a line for the user, such as why a download goes on from another source.
	Note(line string)
}

// quiet is the Progress of those who gave none.
type quiet struct{}

func (quiet) Start(string, int64, int64) {}
func (quiet) Add(int)                    {}
func (quiet) Finish()                    {}
func (quiet) Note(string)                {}

var _ hub.Progress = Progress(nil)

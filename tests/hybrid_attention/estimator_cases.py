"""Models, upstream gradients and an annealed law for the tests of estimators."""

import torch
from injected_samplers import PerfectSampler

from classical import IsingModel, all_configurations
from hybrid_attention import boltzmann_mean
from quantum import AnnealSchedule
from quantum.evolution import angle_tensors, evolve, probabilities

READ_SAMPLES = ["covariance", "callen", "exact"]


def model_and_upstream(groups, models, spins, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(groups, models, spins, generator=generator, dtype=torch.float64)
    J = torch.randn(groups, spins, spins, generator=generator, dtype=torch.float64).triu(1) * spins**-0.5
    g = torch.randn(groups, models, spins, generator=generator, dtype=torch.float64)
    return IsingModel(h.to(dtype), J.to(dtype)), g.to(dtype)


def gradients(model, upstream, **options):
    """⟨s⟩ and the gradients of upstream · ⟨s⟩, through autograd."""
    h, J = model.fields.clone().requires_grad_(), model.couplings.clone().requires_grad_()
    value = boltzmann_mean(h, J, **options)
    return value.detach(), *torch.autograd.grad((value * upstream).sum(), (h, J))


class AnnealedSampler(PerfectSampler):
    """An anneal that knows the mean of its own law."""

    schedule, steps = AnnealSchedule.linear(3.0), 4

    def mean(self, model):
        angles = angle_tensors(self.schedule.angles(self.steps), model.fields.dtype)
        law = probabilities(evolve(model, angles))
        return law @ all_configurations(model.spins).to(law.dtype)

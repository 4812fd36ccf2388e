//! The levels that every U-Net has, whatever its attention looks at.

mod stage;

use burn::module::Module;
pub(crate) use stage::{Attend, FromDown, Signals, Stage, walk};
use stage::{Layer, residuals};
use sumi_nn::{Downsample, Init, ResnetBlock, ResnetBlockConfig, Upsample};

/// A level on the way down: residual blocks, each followed by attention where the level has it,
/// then halving, except at the coarsest.
#[derive(Module, Debug)]
pub struct DownBlock<A: Module> {
    /// One for each residual block, or none.
    pub attentions: Vec<A>,
    /// The residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// One, or none.
    pub downsamplers: Vec<Downsample>,
}

/// The coarsest level: residual block, attention, residual block.
#[derive(Module, Debug)]
pub struct MidBlock<A: Module> {
    /// One, or none.
    pub attentions: Vec<A>,
    /// Two in most networks, in some one or none.
    pub resnets: Vec<ResnetBlock>,
}

/// A level on the way up: residual blocks that each take in a skip connection, with attention
/// where the level has it, then doubling, except at the finest.
#[derive(Module, Debug)]
pub struct UpBlock<A: Module> {
    /// One for each residual block, or none.
    pub attentions: Vec<A>,
    /// The residual blocks.
    pub resnets: Vec<ResnetBlock>,
    /// One, or none.
    pub upsamplers: Vec<Upsample>,
}

sumi_nn::layers!(DownBlock<A> { attentions, resnets, downsamplers } where A);
sumi_nn::layers!(MidBlock<A> { attentions, resnets } where A);
sumi_nn::layers!(UpBlock<A> { attentions, resnets, upsamplers } where A);

impl<A: Module> DownBlock<A> {
    /// Every one of them leaves its result to the level's way up.
    pub(crate) fn stages(&self) -> impl Iterator<Item = Stage<'_, A>> {
        residuals(&self.resnets, &self.attentions)
            .chain(self.downsamplers.iter().map(Layer::Downsample))
            .map(|layer| Stage { layer, takes_skip: false, leaves_skip: true })
    }
}

impl<A: Module> MidBlock<A> {
    /// Without skip connections.
    pub(crate) fn stages(&self) -> impl Iterator<Item = Stage<'_, A>> {
        residuals(&self.resnets, &self.attentions).map(|layer| Stage {
            layer,
            takes_skip: false,
            leaves_skip: false,
        })
    }
}

impl<A: Module> UpBlock<A> {
    /// Every residual block takes what was left last.
    pub(crate) fn stages(&self) -> impl Iterator<Item = Stage<'_, A>> {
        let upsamplers = self.upsamplers.iter().map(Layer::Upsample);
        residuals(&self.resnets, &self.attentions)
            .map(|layer| Stage { layer, takes_skip: true, leaves_skip: false })
            .chain(upsamplers.map(|layer| Stage { layer, takes_skip: false, leaves_skip: false }))
    }
}

/// Which way through a U-Net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From fine to coarse.
    Down,
    /// Between the two, at the coarsest level.
    Middle,
    /// From coarse to fine.
    Up,
}

/// Where a residual block stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) way: Way,
    /// From 0, the finest.
    pub(crate) level: usize,
    /// Which of the level's residual blocks.
    pub(crate) layer: usize,
}

/// What the levels are built from.
pub(crate) trait Plan {
    /// What follows a residual block.
    type Attention: Module;

    /// Channels of each level, from fine to coarse.
    fn channels(&self) -> &[usize];
    /// Residual blocks of a level on its way down; on its way up it has one more.
    fn layers(&self, level: usize) -> usize;
    /// Residual blocks in the middle.
    fn middle_layers(&self) -> usize;
    /// The residual block at a place, with so many channels coming in and going out.
    fn resnet(&self, place: Place, channels: [usize; 2]) -> ResnetBlockConfig;
    /// What follows the residual block at a place, if anything does.
    fn attention(&self, place: Place, init: &mut Init) -> Option<Self::Attention>;
    /// See [`Downsample::new`].
    fn downsample_padding(&self) -> usize;
}

pub(crate) fn down_blocks<P: Plan>(plan: &P, init: &mut Init) -> Vec<DownBlock<P::Attention>> {
    let channels = plan.channels();
    let mut inputs = channels[0];
    let mut blocks = Vec::with_capacity(channels.len());
    for (level, &outputs) in channels.iter().enumerate() {
        let mut attentions = Vec::new();
        let mut resnets = Vec::new();
        for layer in 0..plan.layers(level) {
            let place = Place { way: Way::Down, level, layer };
            resnets.push(ResnetBlock::new(init, plan.resnet(place, [inputs, outputs])));
            attentions.extend(plan.attention(place, init));
            inputs = outputs;
        }
        let last = level + 1 == channels.len();
        let downsamplers = match last {
            true => Vec::new(),
            false => vec![Downsample::new(init, outputs, plan.downsample_padding())],
        };
        blocks.push(DownBlock { attentions, resnets, downsamplers });
    }
    blocks
}

pub(crate) fn mid_block<P: Plan>(plan: &P, init: &mut Init) -> MidBlock<P::Attention> {
    let level = plan.channels().len() - 1;
    let channels = plan.channels()[level];
    let mut attentions = Vec::new();
    let mut resnets = Vec::new();
    for layer in 0..plan.middle_layers() {
        let place = Place { way: Way::Middle, level, layer };
        resnets.push(ResnetBlock::new(init, plan.resnet(place, [channels, channels])));
        attentions.extend(plan.attention(place, init));
    }
    MidBlock { attentions, resnets }
}

pub(crate) fn up_blocks<P: Plan>(plan: &P, init: &mut Init) -> Vec<UpBlock<P::Attention>> {
    let channels = plan.channels();
    let mut inputs = channels[channels.len() - 1];
    let mut blocks = Vec::with_capacity(channels.len());
    for level in (0..channels.len()).rev() {
        let outputs = channels[level];
        // The last residual block of a level takes in what the level above sent down.
        let from_above = channels[level.saturating_sub(1)];
        let mut attentions = Vec::new();
        let mut resnets = Vec::new();
        let layers = plan.layers(level);
        for layer in 0..=layers {
            let place = Place { way: Way::Up, level, layer };
            let skip = if layer == layers { from_above } else { outputs };
            resnets.push(ResnetBlock::new(init, plan.resnet(place, [inputs + skip, outputs])));
            attentions.extend(plan.attention(place, init));
            inputs = outputs;
        }
        let upsamplers = match level {
            0 => Vec::new(),
            _ => vec![Upsample::new(init, outputs)],
        };
        blocks.push(UpBlock { attentions, resnets, upsamplers });
    }
    blocks
}

//! Older names of the same tensors.

/// The present name of a U-Net tensor. Attention was once saved as `query`, `key`, `value` and
/// `proj_attn`, as in the published DDPM checkpoints.
pub(crate) fn present_name(name: &str) -> String {
    if !name.contains("attentions.") {
        return name.to_string();
    }
    let mut name = name.to_string();
    for (old, present) in [
        (".query.", ".to_q."),
        (".key.", ".to_k."),
        (".value.", ".to_v."),
        (".proj_attn.", ".to_out.0."),
    ] {
        name = name.replace(old, present);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::present_name;

    #[test]
    fn only_attention_is_renamed() {
        assert_eq!(
            present_name("mid_block.attentions.0.query.weight"),
            "mid_block.attentions.0.to_q.weight"
        );
        assert_eq!(
            present_name("down_blocks.1.attentions.1.proj_attn.bias"),
            "down_blocks.1.attentions.1.to_out.0.bias"
        );
        for name in ["mid_block.attentions.0.to_out.0.bias", "mid_block.resnets.0.conv1.weight"] {
            assert_eq!(present_name(name), name);
        }
    }
}
